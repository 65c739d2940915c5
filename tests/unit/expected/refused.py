# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/refused.py."""

from gretrace.model import Place
from tests.frames import gre, gre_packet, ipv4, ipv6, udp
from tests.unit.cases import A, B, case, tunnel

IP_TUNNEL = Place("ip_tunnel_rcv", "ip_tunnel")
IP6_TUNNEL = Place("__ip6_tnl_rcv", "ip6_tunnel")
A6, B6 = "fd00::2", "fd00::1"
TEB = 0x6558
ECT_0 = 2
FRAME = b"\xff" * 6 + b"\x02" + bytes(5) + b"\x08\x00"


def refused(packet, *, pulled=False, kind="gre", **attributes):
    """A packet that the tunnel had taken off the outer headers of, or not."""
    ours = tunnel(kind=kind, **attributes)
    return case(packet, ours, place=IP_TUNNEL, is_pulled=pulled)


def refused_6(packet, *, inside=False, **attributes):
    """The same over IPv6, where the tunnel makes the packet its own first."""
    ours = tunnel(kind="ip6gre", local=B6, remote=A6, **attributes)
    where = {"on_tunnel": True, "ifindex": ours.ifindex, "protocol": 0x0800} if inside else {}
    return case(packet, ours, place=IP6_TUNNEL, **where)


def six(**header):
    return ipv6(A6, B6, 47, gre(udp("10.10.10.2", "10.10.10.1"), **header))


def marked(tos):
    return gre_packet(A, B, udp("10.10.10.2", "10.10.10.1", tos=tos), tos=3)


EXPECTED = {
    "checksum-policy": (refused(gre_packet(A, B, checksum=True)), "gre1"),
    "checksum-policy, none came": (refused(gre_packet(A, B), icsum=True), "gre1"),
    "checksum-policy, before the number": (
        refused(gre_packet(A, B, sequence=1), icsum=True, iseq=True),
        "gre1",
    ),
    "checksum-policy, over IPv6": (refused_6(six(), icsum=True), "gre1"),
    "sequence-policy": (refused(gre_packet(A, B), iseq=True), "gre1"),
    "sequence-policy, gretap": (
        refused(gre_packet(A, B, FRAME, protocol=TEB), iseq=True, kind="gretap"),
        "gre1",
    ),
    "sequence-policy, over IPv6": (refused_6(six(), iseq=True), "gre1"),
    "sequence-old": (refused(gre_packet(A, B, sequence=3), iseq=True), "gre1"),
    "sequence-old, over IPv6": (refused_6(six(sequence=3), iseq=True), "gre1"),
    "ecn": (refused(marked(0), pulled=True), "gre1"),
    "ecn, behind the number": (
        refused(
            gre_packet(A, B, udp("10.10.10.2", "10.10.10.1"), sequence=3, tos=3),
            pulled=True,
            iseq=True,
        ),
        "gre1",
    ),
    "ecn, over IPv6": (refused_6(udp("10.10.10.2", "10.10.10.1"), inside=True), "gre1"),
    "other, the inside bears the mark": (refused(marked(ECT_0), pulled=True), "gre1"),
    "other, nothing speaks against it": (refused(gre_packet(A, B)), "gre1"),
    "truncated-inner": (refused(gre_packet(A, B, bytes(12)), pulled=True), "gre1"),
    "truncated-inner, IPv6": (
        refused(gre_packet(A, B, bytes(39), protocol=0x86DD), pulled=True),
        "gre1",
    ),
    "truncated-inner, marked too": (
        refused(gre_packet(A, B, bytes(12), tos=3), pulled=True),
        "gre1",
    ),
    "truncated-inner, in a frame": (
        refused(gre_packet(A, B, FRAME + bytes(19), protocol=TEB), pulled=True, kind="gretap"),
        "gre1",
    ),
    "truncated-inner, less than a frame": (
        case(
            gre_packet(A, B, bytes(13), protocol=TEB),
            tunnel(kind="gretap"),
            place=Place("__ipgre_rcv", "ip_gre"),
        ),
        "gre1",
    ),
    "truncated-inner, over IPv6": (refused_6(b"\x45" + bytes(10), inside=True), "gre1"),
    "truncated-inner, found out on receipt": (
        case(
            ipv4(A, B, 17, bytes(8)),
            tunnel(),
            place=Place("ip_rcv_core"),
            reason="PKT_TOO_SMALL",
            on_tunnel=True,
            ifindex=10,
        ),
        "gre1",
    ),
}
