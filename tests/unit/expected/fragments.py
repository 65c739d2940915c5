# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/fragments.py."""

from gretrace.model import Place
from gretrace.verdicts import Case
from tests.frames import gre, ipv4, ipv6, udp
from tests.unit.cases import A, B, drop, tunnel
from tests.unit.host import FakeHost, at, on_tunnel

A6, B6 = "fd00::2", "fd00::1"
GRE, OVER6 = tunnel("gre1", key=1), tunnel("gre6", kind="ip6gre", local=B6, remote=A6)
TIMEOUT = "FRAG_REASM_TIMEOUT"
WHOLE = gre(udp("10.10.10.2", "10.10.10.1", bytes(1400)), key=1)
CUT = 1280
FIRST = ipv4(A, B, 47, WHOLE[:CUT], fragment=0x2000)
LATER = ipv4(A, B, 47, WHOLE[CUT:], fragment=CUT // 8)
FIRST6 = ipv6(A6, B6, 44, bytes([47, 0, 0, 1, 0, 0, 0, 7]) + gre(bytes(1272)))
EXPIRE, EXPIRE6 = Place("ip_expire"), Place("ip6_frag_expire")
CONNTRACK = "net.netfilter.nf_conntrack_frag6_timeout"
PURGE = Place("inet_frag_rbtree_purge")


def lost(packet, *tunnels, place=EXPIRE, reason=TIMEOUT):
    host = FakeHost({"net.ipv4.ipfrag_time": 30, CONNTRACK: 60}, own=(B, B6))
    return at(packet, *tunnels, iif="vb", host=host, place=place, reason=reason)


INNER = ipv4("10.10.10.2", "10.10.10.1", 17, bytes(1400), fragment=0x2000)


EXPECTED = {
    "fragment-lost, inside the tunnel": (
        on_tunnel(INNER, GRE, place=EXPIRE, reason=TIMEOUT, host=FakeHost(own=("10.10.10.1",))),
        "gre1",
    ),
    "fragment-lost": (lost(FIRST, GRE), "gre1"),
    "fragment-lost, without a reason": (lost(FIRST, GRE, reason="NOT_SPECIFIED"), "gre1"),
    "fragment-lost, over IPv6": (lost(FIRST6, OVER6, place=EXPIRE6), "gre6"),
    "fragment-lost, before conntrack": (
        lost(FIRST6, OVER6, place=Place("nf_ct_frag6_expire", "nf_defrag_ipv6")),
        "gre6",
    ),
    "fragment-lost, for no tunnel": (lost(FIRST), None),
    "fragment-lost, a later one came": (lost(LATER, GRE, place=PURGE), "gre1"),
    "fragment-lost, in a namespace that is not known": (
        Case(drop(LATER, place=PURGE, reason=TIMEOUT, netns=0, ifindex=0), None),
        None,
    ),
    "other, it came twice": (lost(FIRST, GRE, place=Place("ip_defrag"), reason="DUP_FRAG"), None),
}
