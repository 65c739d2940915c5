# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/over_ipv6.py."""

from dataclasses import replace

from gretrace.model import Device
from tests.frames import gre, ipv6, udp
from tests.unit.cases import VB, tunnel
from tests.unit.expected.sending import A6, INNER_A, INNER_B, OVER6, XMIT6, host, unsent
from tests.unit.host import GRE1

LINK_A, LINK_B = "fe80::a", "fe80::b"
LOCAL = tunnel("gre1", kind="ip6gre", local=LINK_B, remote=LINK_A, mtu=1448, ifindex=GRE1)
ON_VB = {"devices": {VB: Device(VB, "vb", up=True, carrier=True)}, "holders": {LINK_B: VB}}
INSIDE = udp(INNER_B, INNER_A)
SECOND = tunnel("gre2", kind="ip6gre", local="fd01::1", remote="fd01::2", ifindex=GRE1 + 1)


def limited(limit):
    """What gre2 sends, with a limit of its own."""
    return ipv6("fd01::1", "fd01::2", 60, bytes([47, 0, 4, 1, limit, 1, 1, 0]) + gre(INSIDE))


def refused(packet, *others):
    return unsent(packet, OVER6, host(), *others, place=XMIT6)


EXPECTED = {
    "tx-needs-device": (unsent(INSIDE, LOCAL, replace(host(), **ON_VB), place=XMIT6), "gre1"),
    "tx-needs-device, nobody has the address": (unsent(INSIDE, LOCAL, host(), place=XMIT6), "gre1"),
    "tx-encap-limit": (refused(limited(0), replace(SECOND, encap_limit=0)), "gre1"),
    "tx-encap-limit, of a tunnel further inside": (refused(limited(0), SECOND), "gre1"),
    "tx-encap-limit, of another host": (refused(limited(0)), "gre1"),
    "other, a limit that allows one more": (refused(limited(1), SECOND), "gre1"),
    "other, it is bound to a device": (
        unsent(
            INSIDE,
            replace(LOCAL, link=VB, link_name="vb"),
            host(LINK_B, **{LINK_A: host().routes[A6]}),
            place=XMIT6,
        ),
        "gre1",
    ),
}
