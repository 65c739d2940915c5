# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/elsewhere.py."""

from dataclasses import replace

from gretrace.commands import HERE, Netns
from gretrace.kernel.lookup import Tables
from gretrace.kernel.surroundings import Elsewhere, Nowhere
from gretrace.model import Place
from tests.frames import answer, gre_packet, udp
from tests.unit.cases import A, B, case, tunnel

BLUE = Netns("blue")
FALLBACK = tunnel("gre0", local=None, remote=None, fallback=True)


class _Beside(Nowhere):
    """A host with one more namespace."""

    def __init__(self, *tunnels, there=BLUE):
        self._elsewhere = Elsewhere([(there, Tables(tunnels))])

    def elsewhere(self):
        return self._elsewhere


def beside(packet, *ours, theirs, there=BLUE):
    return replace(case(packet, *ours), host=_Beside(theirs, there=there))


def on_fallback(packet, place, **more):
    return case(packet, FALLBACK, place=place, on_tunnel=True, ifindex=10, **more)


KEYED = gre_packet(A, B, key=1)

EXPECTED = {
    "wrong-netns": (beside(KEYED, theirs=tunnel(key=1)), "gre1"),
    "wrong-netns, of a process": (
        beside(KEYED, theirs=tunnel(key=1), there=Netns(path="/proc/123/ns/net")),
        "gre1",
    ),
    "wrong-netns, the caller's own": (
        beside(KEYED, theirs=tunnel(key=1), there=HERE),
        "gre1",
    ),
    "wrong-netns, its name is taken here": (
        beside(KEYED, tunnel(remote="20.1.1.9", local="20.1.1.8"), theirs=tunnel(key=1)),
        "gre1",
    ),
    "wrong-netns, moved here": (case(KEYED, tunnel(key=1, moved=True)), "gre1"),
    "no-tunnel, moved here with another key": (case(KEYED, tunnel(key=2, moved=True)), None),
    "no-tunnel, another key there": (beside(KEYED, theirs=tunnel(key=2)), None),
    "no-tunnel, one for anybody there": (
        beside(KEYED, theirs=tunnel(key=1, local=None, remote=None)),
        None,
    ),
    "no-tunnel, the fallback there": (beside(KEYED, theirs=FALLBACK), None),
    "no-tunnel, an external one there": (
        beside(KEYED, theirs=tunnel(local=None, remote=None, external=True)),
        None,
    ),
    "key-mismatch, and another fits there": (
        beside(KEYED, tunnel(key=2), theirs=tunnel(key=1)),
        "gre1",
    ),
    "fallback-taken": (on_fallback(udp("10.10.10.2", B), Place("ip_error")), "gre0"),
    "fallback-taken, a keepalive": (on_fallback(answer(B, A), Place("ip_error")), "gre0"),
    "fallback-taken, it was refused": (
        case(
            gre_packet(A, B, key=1, checksum=True),
            FALLBACK,
            tunnel("gre2", key=2, ifindex=11),
            place=Place("ip_tunnel_rcv", "ip_tunnel"),
        ),
        "gre2",
    ),
    "other, sent by the fallback device": (
        on_fallback(udp(B, "10.10.10.2"), Place("ipgre_xmit", "ip_gre"), is_sent=True),
        "vb",
    ),
}
