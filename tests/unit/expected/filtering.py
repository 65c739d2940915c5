# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/filtering.py and programs.py."""

from dataclasses import replace

from gretrace.kernel.ruleset import Chain, Match, Rule
from gretrace.model import Filter, Place, Program
from tests.frames import gre_packet, ipv6, udp
from tests.unit.cases import A, B, tunnel
from tests.unit.host import GRE1, IN_VRF, LAN, VRF, FakeHost, at, by, on_tunnel

INNER_A, INNER_B, FAR = "10.10.10.2", "10.10.10.1", "10.20.0.9"
GRE = tunnel("gre1", ifindex=GRE1)
NFT = Place("nft_do_chain", "nf_tables")
HOOK = Place("nf_hook_slow")
IS_GRE = Match("l4proto", ("gre",))
BY_VRF, BY_GRE1 = Match("iifname", ("vrf1",)), Match("iifname", ("gre1",))
BY_LAN = Match("oifname", ("lan0",))


def chain(hook, *rules, policy="accept", name="c", **more):
    return Chain("nft", "inet", "f", name, rules, hook=hook, policy=policy, **more)


def firewalled(*chains):
    routes = {FAR: by(LAN, "lan0"), "fd10::1": by(LAN, "lan0"), A: by(7, "vb")}
    return FakeHost(routes=routes, own=(B, INNER_B), chains=chains)


def firewalled_vrf(*chains):
    """Its addresses inside are those of a VRF alone."""
    return FakeHost(own=(B,), own_in={VRF: (INNER_B,)}, devices=IN_VRF, chains=chains)


def rule(action, *matches, text="gre", handle=4, **more):
    return Rule(f"{text} {action}", action, matches, handle=handle, **more)


def netfilter(packet, host, make=on_tunnel, place=NFT, *, routed=True, leaving_by=0, **more):
    told = {"reason": "NETFILTER_DROP", "is_routed": routed, "leaving_by": leaving_by, **more}
    made = make(packet, GRE, host=host, place=place, **told)
    return replace(made, leaving_by="lan0" if leaving_by else None)


def outer(packet, *tunnels, **more):
    return at(packet, *tunnels, iif="vb", **more)


DROP = Filter(7, 1, "matchall", "drop", dropped=3)


def by_tc(*filters):
    """What a filter at the ingress of gre1 dropped."""
    return on_tunnel(
        *(udp(INNER_A, INNER_B), GRE),
        place=Place("__netif_receive_skb_core"),
        reason="TC_INGRESS",
        host=FakeHost(tc={(GRE1, "ingress"): filters}),
    )


EXPECTED = {
    "firewall": (
        netfilter(udp(INNER_A, INNER_B), firewalled(chain("input", rule("drop")))),
        "gre1",
    ),
    "firewall, forwarded": (
        netfilter(udp(INNER_A, FAR), firewalled(chain("forward", policy="drop"))),
        "gre1",
    ),
    "firewall, before the route": (
        netfilter(
            udp(INNER_A, INNER_B), firewalled(chain("prerouting", rule("drop"))), routed=False
        ),
        "gre1",
    ),
    "firewall, in a VRF": (
        netfilter(udp(INNER_A, INNER_B), firewalled_vrf(chain("input", rule("drop", BY_VRF)))),
        "gre1",
    ),
    "firewall, in a VRF, before the route": (
        netfilter(
            udp(INNER_A, INNER_B),
            firewalled_vrf(chain("prerouting", rule("drop", BY_GRE1))),
            routed=False,
        ),
        "gre1",
    ),
    "firewall, on the way out of another device": (
        netfilter(
            udp(INNER_A, FAR),
            firewalled(chain("output", rule("drop")), chain("postrouting", rule("drop", BY_LAN))),
            leaving_by=LAN,
        ),
        "gre1",
    ),
    "firewall, sent": (
        netfilter(
            udp(INNER_B, INNER_A), firewalled(chain("postrouting", rule("drop"))), is_sent=True
        ),
        "gre1",
    ),
    "firewall, IPv6": (
        netfilter(
            ipv6("fd10::2", "fd10::1", 17, bytes(16)), firewalled(chain("forward", rule("reject")))
        ),
        "gre1",
    ),
    "firewall, an older kernel": (
        on_tunnel(
            *(udp(INNER_A, INNER_B), GRE),
            host=firewalled(chain("input", rule("drop"))),
            place=HOOK,
            reason=None,
            is_routed=True,
        ),
        "gre1",
    ),
    "firewall, nothing to read it with": (netfilter(udp(INNER_A, INNER_B), FakeHost()), "gre1"),
    "firewall-outer": (
        netfilter(gre_packet(A, B), firewalled(chain("input", rule("drop", IS_GRE))), outer),
        "gre1",
    ),
    "firewall-outer, sent": (
        netfilter(
            gre_packet(B, A), firewalled(chain("postrouting", rule("drop"))), outer, is_sent=True
        ),
        "gre1",
    ),
    "firewall-outer, sent, on the tunnel's device yet": (
        netfilter(gre_packet(B, A), firewalled(chain("output", rule("drop"))), is_sent=True),
        "gre1",
    ),
    "firewall-outer, no tunnel": (
        outer(gre_packet("20.1.1.77", B), place=NFT, reason="NETFILTER_DROP", host=firewalled()),
        None,
    ),
    "tc-drop": (
        on_tunnel(
            udp(INNER_A, INNER_B), GRE, place=Place("__netif_receive_skb_core"), reason="TC_INGRESS"
        ),
        "gre1",
    ),
    "tc-drop, by the only filter": (by_tc(DROP, Filter(9, 1, "flower", "drop", dropped=0)), "gre1"),
    "tc-drop, by one of several": (
        by_tc(DROP, Filter(9, 0x80000800, "u32", "police, which drops what exceeds its rate")),
        "gre1",
    ),
    "tc-drop, by a program": (
        by_tc(Filter(2, 1, "bpf", "of its program guard.o:[tc] (id 7)", chain=3)),
        "gre1",
    ),
    "tc-drop, by very many": (
        by_tc(*(Filter(n, 0x80012345, "u32", "drop", dropped=1) for n in range(1, 9))),
        "gre1",
    ),
    "tc-drop, sent": (
        on_tunnel(
            *(udp(INNER_B, INNER_A), GRE),
            place=Place("__dev_queue_xmit"),
            reason="TC_EGRESS",
            is_sent=True,
        ),
        "gre1",
    ),
    "tc-drop, outer": (
        outer(gre_packet(A, B), GRE, place=Place("__netif_receive_skb_core"), reason="TC_INGRESS"),
        "gre1",
    ),
    "xdp-drop": (on_tunnel(udp(INNER_A, INNER_B), GRE, place=Place("do_xdp_generic")), "gre1"),
    "xdp-drop, the program is known": (
        on_tunnel(
            udp(INNER_A, INNER_B),
            GRE,
            place=Place("do_xdp_generic"),
            host=FakeHost(programs={GRE1: Program(42, "guard")}),
        ),
        "gre1",
    ),
    "xdp-drop, outer": (
        outer(gre_packet(A, B), GRE, place=Place("kfree_skb"), reason="XDP"),
        "gre1",
    ),
}
