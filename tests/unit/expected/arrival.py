# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/arrival.py and protection.py, and of conntrack in filtering.py."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

from gretrace.kernel.ipsec import Ipsec, Policy, State
from gretrace.model import Place
from tests.frames import gre_packet, ipv6, udp
from tests.unit.cases import A, B, tunnel
from tests.unit.host import GRE1, FakeHost, at, by, on_tunnel

DELIVER, CORE, ERROR = Place("ip_protocol_deliver_rcu"), Place("ip_rcv_core"), Place("ip_error")
CORE6, HOOK = Place("ip6_rcv_core"), Place("nf_hook_slow")
XMIT, DISCARD = Place("ip_tunnel_xmit", "ip_tunnel"), Place("dst_discard_out")
GRE = tunnel("gre1", ifindex=GRE1, mtu=1476)
INSIDE6 = ipv6("fd10::2", "fd10::1", 17, bytes(16))
INSIDE = udp("10.1.1.1", "10.1.1.2")


def policy(direction, source, destination, **more):
    ends = (ip_network(source), ip_network(destination))
    return Policy(direction, *ends, protocol=47, priority=0, **more)


def state(source, destination):
    return State(ip_address(source), ip_address(destination), 0x101, 50)


def host(*policies, states=(), **more):
    return FakeHost(protection=Ipsec(policies, states), **more)


BLOCK_IN = policy("in", A, B, block=True)
WANT_IN = policy("in", A, B, transforms=True)
BLOCK_OUT = policy("out", B, A, block=True)
WANT_OUT = policy("out", B, A, transforms=True)
REFUSED = {"place": DELIVER, "reason": "XFRM_POLICY", "is_routed": True}
ROUTES = {"routes": {A: by(7, "vb")}, "own": (B,)}


def refused(*policies, **more):
    return at(gre_packet(A, B), GRE, iif="vb", host=host(*policies, own=(B,)), **REFUSED, **more)


def sent(*policies, place=XMIT, **more):
    return on_tunnel(
        INSIDE, GRE, host=host(*policies, **ROUTES, **more), place=place, is_sent=True,
        is_routed=True,
    )  # fmt: skip


def without_ipv6(value, mtu=1476, **more):
    """gre1 receives IPv6; its setting disable_ipv6 is `value`."""
    settings = {} if value is None else {"net.ipv6.conf.gre1.disable_ipv6": value}
    return on_tunnel(
        INSIDE6, replace(GRE, mtu=mtu), host=FakeHost(settings), place=CORE6, is_routed=False,
        **more,
    )  # fmt: skip


def full(count, most):
    return {
        "net.netfilter.nf_conntrack_count": count,
        "net.netfilter.nf_conntrack_max": most,
    }


def hooked(settings, **more):
    return at(
        gre_packet(A, B), GRE, iif="vb", host=FakeHost(settings, own=(B,), chains=()),
        place=HOOK, reason="NETFILTER_DROP", is_routed=False, **more,
    )  # fmt: skip


EXPECTED = {
    "ipsec-policy, it blocks": (refused(BLOCK_IN), "gre1"),
    "ipsec-policy, it came plain": (refused(WANT_IN), "gre1"),
    "ipsec-policy, none is left": (refused(), "gre1"),
    "tx-ipsec, it blocks": (sent(BLOCK_OUT), "gre1"),
    "tx-ipsec, no state": (sent(WANT_OUT), "gre1"),
    "tx-ipsec, the daemon is asked for a state": (sent(WANT_OUT, place=DISCARD), "gre1"),
    "other, there is a state after all": (sent(WANT_OUT, states=[state(B, A)]), "gre1"),
    "other, a policy for others": (sent(policy("out", B, "9.9.9.9", block=True)), "gre1"),
    "other, IPsec refuses what was inside": (
        on_tunnel(INSIDE, GRE, place=Place("udp_queue_rcv_one_skb"), reason="XFRM_POLICY",
            is_routed=True,
        ),
        "gre1",
    ),
    "outer-corrupt, the checksum": (
        at(gre_packet(A, B), GRE, iif="vb", place=CORE, reason="IP_CSUM", is_routed=False),
        "gre1",
    ),
    "outer-corrupt, the length": (
        at(gre_packet(A, B), GRE, iif="vb", place=CORE, reason="PKT_TOO_SMALL", is_routed=False),
        "gre1",
    ),
    "local-address-missing": (
        at(
            gre_packet(A, B), GRE, iif="vb", host=FakeHost({"net.ipv4.conf.vb.forwarding": 0}),
            place=ERROR, reason="IP_INADDRERRORS", is_routed=True,
        ),
        "gre1",
    ),
    "other, for a tunnel with another local address": (
        at(
            gre_packet(A, "20.1.1.77"), GRE, iif="vb",
            host=FakeHost({"net.ipv4.conf.vb.forwarding": 0}),
            place=ERROR, reason="IP_INADDRERRORS", is_routed=True,
        ),
        None,
    ),
    "ipv6-disabled, by its setting": (without_ipv6(1, reason="IPV6DISABLED"), "gre1"),
    "ipv6-disabled, by its MTU": (without_ipv6(None, mtu=1000, reason="NOT_SPECIFIED"), "gre1"),
    "other, IPv6 is on": (without_ipv6(0, reason="NOT_SPECIFIED"), "gre1"),
    "conntrack-full": (hooked(full(9, 9)), "gre1"),
    "firewall-outer, conntrack has room": (hooked(full(8, 9)), "gre1"),
}  # fmt: skip
