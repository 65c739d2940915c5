# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/ports.py."""

from dataclasses import replace

from gretrace.model import Device, Encap, Place
from tests.frames import gre, ipv4, ipv6, udp
from tests.unit.cases import VB, A, B, tunnel
from tests.unit.host import VRF, FakeHost, at

A6, B6 = "fd00::2", "fd00::1"
PORT = 5555
OURS = tunnel("gre1", key=1, encap=Encap("fou", dport=PORT))
OVER6 = tunnel("gre1", kind="ip6gre", local=B6, remote=A6, key=1, encap=Encap("gue", dport=PORT))
IN_VRF = Device(VB, "vb", up=True, carrier=True, vrf="vrf0", vrf_ifindex=VRF)
RECEIVE, RECEIVE6 = Place("__udp4_lib_rcv"), Place("__udp6_lib_rcv")
GUE = bytes([0, 47, 0, 0])


def in_udp(payload):
    return (
        b"\x30\x39"
        + PORT.to_bytes(2, "big")
        + (8 + len(payload)).to_bytes(2, "big")
        + bytes(2)
        + payload
    )


def inside(key=1):
    return gre(udp("10.10.10.2", "10.10.10.1"), key=key)


def fou(key=1, around=b"", ends=(A, B)):
    return ipv4(*ends, 17, in_udp(around + inside(key)))


def closed(packet, *tunnels, reason="NO_SOCKET", place=RECEIVE, **more):
    return at(
        packet, *tunnels, iif="vb", host=FakeHost(own=(B, B6), **more), place=place, reason=reason,
        in_udp=True, is_routed=True,
    )  # fmt: skip


EXPECTED = {
    "encap-port-closed": (closed(fou(), OURS), "gre1"),
    "encap-port-closed, GUE": (
        closed(fou(around=GUE), replace(OURS, encap=Encap("gue", dport=PORT))),
        "gre1",
    ),
    "encap-port-closed, over IPv6": (
        closed(ipv6(A6, B6, 17, in_udp(GUE + inside())), OVER6, place=RECEIVE6),
        "gre1",
    ),
    "encap-port-closed, the tunnel sends to another": (
        closed(fou(), replace(OURS, encap=Encap("fou", dport=7777))),
        "gre1",
    ),
    "encap-port-closed, the tunnel sends without UDP": (
        closed(fou(), replace(OURS, encap=None)),
        "gre1",
    ),
    "encap-port-closed, in a VRF": (
        closed(fou(), OURS, devices={VB: IN_VRF}, own_in={VRF: (B,)}),
        "gre1",
    ),
    "other, no tunnel waits for it": (closed(fou(key=2), OURS), None),
}
