# SPDX-License-Identifier: GPL-2.0-only
"""Cases of the lookup's causes, and of `other`."""

from dataclasses import replace

from gretrace.model import Place, Route
from tests.frames import gre, gre_packet, ipv6, udp
from tests.unit.cases import HEARD, ONCE_HEARD, SILENT, A, B, case, tunnel
from tests.unit.host import FakeHost

OTHER = "20.1.1.99"
NATTED = gre_packet("20.1.1.254", B, key=1)


A6, B6 = "fd00::2", "fd00::1"
IP6_GRE = Place("gre_rcv", "ip6_gre")
TEB, ERSPAN = 0x6558, 0x88BE
FRAME = b"\xff" * 6 + b"\x02" + bytes(5) + b"\x88\xb5" + bytes(46)
ERSPAN_HEADER = bytes([0x10, 0, 0, 7]) + bytes(4)  # version 1, session 7


def keyed(key):
    return gre_packet(A, B, key=key)


def over_ipv6(header, *, place=IP6_GRE, **tunnel_values):
    """A packet between A6 and B6, and a tunnel there, or almost there."""
    packet = ipv6(A6, B6, 47, gre(udp("10.10.10.2", "10.10.10.1"), **header))
    values = {"local": B6, "remote": A6, "kind": "ip6gre", "pmtudisc": False, **tunnel_values}
    return case(packet, tunnel(**values), place=place)


def _unhandled(protocol, payload, **tunnel_values):
    """A payload that the tunnel took and that nobody was there for."""
    return case(
        payload,
        tunnel(**tunnel_values),
        place=Place("__netif_receive_skb_core"),
        reason="UNHANDLED_PROTO",
        on_tunnel=True,
        ifindex=10,
        protocol=protocol,
    )


EXPECTED = {
    "key-mismatch": (case(keyed(2), tunnel(key=1)), "gre1"),
    "key-mismatch, key 0 against 1": (case(keyed(0), tunnel(key=1)), "gre1"),
    "key-missing": (case(keyed(None), tunnel(key=1)), "gre1"),
    "key-missing, key 0": (case(keyed(None), tunnel(key=0)), "gre1"),
    "key-unexpected": (case(keyed(2), tunnel()), "gre1"),
    "key-unexpected, key 0": (case(keyed(0), tunnel()), "gre1"),
    "nat-remote": (case(NATTED, tunnel(key=1)), "gre1"),
    "nat-remote, fell silent": (case(NATTED, tunnel(key=1), traffic={10: ONCE_HEARD}), "gre1"),
    "nat-remote, others are heard": (
        case(
            NATTED,
            tunnel("gre1", remote=OTHER, key=1, ifindex=10),
            tunnel("gre2", key=1, ifindex=11),
            traffic={10: HEARD, 11: SILENT},
        ),
        "gre2",
    ),
    "local-mismatch": (case(gre_packet(A, OTHER, key=1), tunnel(key=1)), "gre1"),
    "tunnel-down": (case(keyed(1), tunnel(key=1, up=False)), "gre1"),
    "key-mismatch, and down": (case(keyed(2), tunnel(key=1, up=False)), "gre1"),
    "wrong-type": (case(keyed(1), tunnel(key=1, kind="gretap")), "gre1"),
    "no-tunnel": (case(keyed(1)), None),
    "no-tunnel, sent to a group": (case(gre_packet(A, "224.0.0.9", key=1)), None),
    "no-tunnel, two things differ": (case(NATTED, tunnel(key=2)), None),
    "no-tunnel, the peer is heard": (case(NATTED, tunnel(key=1), traffic={10: HEARD}), None),
    "no-tunnel, several fell silent": (
        case(
            NATTED,
            tunnel("gre1", key=1, ifindex=10),
            tunnel("gre2", remote=OTHER, key=1, ifindex=11),
            traffic={10: ONCE_HEARD, 11: ONCE_HEARD},
        ),
        None,
    ),
    "other, the tunnel fits": (case(keyed(1), tunnel(key=1)), None),
    "other, the fallback device is up": (
        case(keyed(1), tunnel("gre0", local=None, remote=None, fallback=True)),
        None,
    ),
    "other, another function": (case(keyed(2), tunnel(key=1), place=Place("ip_defrag")), None),
    "other, a whole packet that the tunnel would take": (
        case(gre_packet(A, B, checksum=True), tunnel(icsum=True)),
        None,
    ),
    "wrong-type, frames to erspan": (
        case(gre_packet(A, B, FRAME, protocol=TEB), tunnel(kind="erspan", name="erspan1")),
        "erspan1",
    ),
    "wrong-type, ERSPAN to gretap": (
        case(
            gre_packet(A, B, ERSPAN_HEADER + FRAME, protocol=ERSPAN, sequence=0),
            tunnel(kind="gretap", key=7),
        ),
        "gre1",
    ),
    "key-mismatch, sessions of ERSPAN": (
        case(
            gre_packet(A, B, ERSPAN_HEADER + FRAME, protocol=ERSPAN, sequence=0),
            tunnel(kind="erspan", key=8),
        ),
        "gre1",
    ),
    "wrong-type, ERSPAN type I to one of type II": (
        case(gre_packet(A, B, FRAME, protocol=ERSPAN), tunnel(kind="erspan", key=7)),
        "gre1",
    ),
    "wrong-type, ERSPAN type I over IPv6": (
        case(
            ipv6(A6, B6, 47, gre(FRAME, protocol=ERSPAN)),
            tunnel(kind="ip6erspan", local=B6, remote=A6, key=7),
            place=Place("gre_rcv", "ip6_gre"),
        ),
        "gre1",
    ),
    "wrong-type, ERSPAN type II to one of type I": (
        case(
            gre_packet(A, B, ERSPAN_HEADER + FRAME, protocol=ERSPAN, sequence=0),
            tunnel(kind="erspan", erspan_version=0),
        ),
        "gre1",
    ),
    "wrong-type, frames in gre": (_unhandled(TEB, FRAME), "gre1"),
    "wrong-type, ERSPAN in ip6gre": (
        _unhandled(ERSPAN, FRAME, kind="ip6gre", local=B6, remote=A6),
        "gre1",
    ),
    "no-handler": (_unhandled(0x2001, bytes(30)), "gre1"),
    "no-handler, CDP": (_unhandled(0x2000, bytes(30)), "gre1"),
    "no-handler, no EtherType": (_unhandled(4, bytes(30)), "gre1"),
    "key-mismatch, several": (
        case(keyed(9), *(tunnel(f"gre{n}", key=n, ifindex=10 + n) for n in range(1, 6))),
        None,
    ),
    "key-mismatch, several of which one never heard a peer": (
        case(
            keyed(9),
            *(tunnel(f"gre{n}", key=n, ifindex=10 + n) for n in range(1, 4)),
            traffic={11: ONCE_HEARD, 12: SILENT, 13: HEARD},
        ),
        "gre2",
    ),
    "key-mismatch, the checksum tells": (
        case(
            gre_packet(A, B, key=9, checksum=True),
            tunnel("gre1", key=1, ifindex=11),
            tunnel("gre2", key=2, ifindex=12, icsum=True, ocsum=True),
        ),
        "gre2",
    ),
    "key-mismatch, the number tells": (
        case(
            gre_packet(A, B, key=9, sequence=3),
            tunnel("gre1", key=1, ifindex=11),
            tunnel("gre2", key=2, ifindex=12, iseq=True, oseq=True),
        ),
        "gre2",
    ),
    "nat-remote, several": (
        case(
            NATTED,
            tunnel("gre1", remote=OTHER, key=1, ifindex=11),
            tunnel("gre2", remote="20.1.1.98", key=1, ifindex=12),
        ),
        None,
    ),
    "tunnel-down, several": (
        case(
            keyed(1),
            tunnel("gre1", key=1, up=False, ifindex=11, link=3, link_name="eth0"),
            tunnel("gre2", key=1, up=False, ifindex=12, link=4, link_name="eth1"),
        ),
        None,
    ),
    "local-mismatch, the broadcast address": (
        replace(
            case(gre_packet(A, "20.1.1.255", key=1), tunnel(key=1)),
            host=FakeHost(routes={"20.1.1.255": Route(is_broadcast=True)}),
        ),
        "gre1",
    ),
    "other, a frame that nobody handles": (_unhandled(0x88CC, FRAME, kind="gretap"), "vb"),
    "key-mismatch, over IPv6": (over_ipv6({"key": 2}, key=1), "gre1"),
    "key-missing, over IPv6": (over_ipv6({}, key=1), "gre1"),
    "other, over IPv6 no key is key 0": (over_ipv6({}, key=0), None),
    "key-unexpected, over IPv6": (over_ipv6({"key": 2}), "gre1"),
    "nat-remote, over IPv6": (over_ipv6({}, remote="fd00::9"), "gre1"),
    "local-mismatch, over IPv6": (over_ipv6({}, local="fd00::9"), "gre1"),
    "tunnel-down, over IPv6": (over_ipv6({}, up=False), "gre1"),
    "wrong-type, over IPv6": (over_ipv6({}, kind="ip6gretap"), "gre1"),
    "no-tunnel, over IPv6": (over_ipv6({"key": 2}, key=1, remote="fd00::9"), None),
    "other, not looked up over IPv6": (
        over_ipv6({"key": 2}, place=Place("gre_rcv", "ip_gre"), key=1),
        None,
    ),
    "other, no IP": (case(b"\0" * 60, tunnel(key=1)), None),
}
