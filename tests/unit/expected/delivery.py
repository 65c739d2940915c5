# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/delivery.py, forwarding.py and keepalive.py."""

from dataclasses import replace

from gretrace.model import Place, Route
from tests.frames import answer, gre, gre_packet, ipv4, ipv6, udp
from tests.unit.cases import A, B, tunnel
from tests.unit.host import GRE1, IN_VRF, LAN, VRF, FakeHost, at, by, on_tunnel, settings

INNER_A, INNER_B, STRANGER, FAR = "10.10.10.2", "10.10.10.1", "99.9.9.9", "10.20.0.9"
A6, B6 = "fd00::2", "fd00::1"
OWN = (B, INNER_B)
GRE = tunnel("gre1", ifindex=GRE1)
GRE6 = tunnel("gre1", ifindex=GRE1, kind="ip6gre", local=B6, remote=A6)

FINISH = Place("ip_rcv_finish_core")
ERROR = Place("ip_error")
RECEIVED = {"is_routed": False}
ROUTED = {"is_routed": True}


def inside(source, destination=INNER_B, **more):
    return udp(source, destination, **more)


def inside6(source, destination, size=16):
    return ipv6(source, destination, 17, bytes(size))


def host(*, rp=(0, 0), accept=(0, 0), forwarding=0, device="gre1", routes=None, own=OWN):
    return FakeHost(
        settings(device, "rp_filter", *rp)
        | settings(device, "accept_local", *accept)
        | settings(device, "forwarding", forwarding, forwarding)
        | settings(device, "forwarding", forwarding, forwarding, family=6)
        | {"net.ipv4.ip_forward": forwarding},
        routes or {},
        own,
    )


def keepalive(place, reason, **more):
    return on_tunnel(answer(B, A), GRE, place=place, reason=reason, **more)


ASYMMETRIC = {STRANGER: by(LAN, "lan0"), A: by(7, "vb")}
TO_LAN = {FAR: by(LAN, "lan0", mtu=1300), "2001:db8::9": by(LAN, "lan0", mtu=1300)}


def echo_reply(source, destination):
    return ipv4(source, destination, 1, bytes(8))


NOBODY = {"place": Place("ip_local_deliver_finish"), "reason": "IP_NOPROTO"}


EXPECTED = {
    "no-handler, OSPF to this host": (
        on_tunnel(ipv4("10.1.1.2", "10.1.1.1", 89, bytes(44)), tunnel("gre1"), **NOBODY),
        "gre1",
    ),
    "no-handler, IP in IP without a tunnel": (
        on_tunnel(
            *(ipv4("10.1.1.2", "10.1.1.1", 4, bytes(44)), tunnel("gre1")),
            place=Place("tunnel4_rcv", "tunnel4"),
        ),
        "gre1",
    ),
    "no-handler, of a protocol without a name": (
        on_tunnel(ipv4("10.1.1.2", "10.1.1.1", 253, bytes(44)), tunnel("gre1"), **NOBODY),
        "gre1",
    ),
    "keepalive-unanswered, of OpenBSD": (
        on_tunnel(
            *(ipv4(B, A, 47, gre(bytes(16), protocol=0)), GRE),
            host=host(),
            place=ERROR,
            reason="IP_INADDRERRORS",
        ),
        "gre1",
    ),
    "health-check-unanswered": (
        on_tunnel(
            echo_reply(INNER_B, INNER_A), GRE, host=host(), place=ERROR, reason="IP_INADDRERRORS"
        ),
        "gre1",
    ),
    "health-check-unanswered, of the outer addresses": (
        on_tunnel(echo_reply(B, A), GRE, host=host(forwarding=1), place=FINISH),
        "gre1",
    ),
    "martian-destination": (
        on_tunnel(inside(INNER_A, "127.0.0.1"), GRE, host=host(), place=FINISH),
        "gre1",
    ),
    "martian-destination, no address": (
        on_tunnel(inside(INNER_A, "0.0.0.0"), GRE, host=host(), place=FINISH),  # noqa: S104
        "gre1",
    ),
    "martian-destination, class E, forwarding off": (
        on_tunnel(
            inside(INNER_A, "240.0.0.1"), GRE, host=host(), place=ERROR, reason="IP_INADDRERRORS"
        ),
        "gre1",
    ),
    "martian-destination, class E, no route": (
        on_tunnel(
            *(inside(INNER_A, "240.0.0.1"), GRE),
            host=host(forwarding=1),
            place=ERROR,
            reason="IP_INNOROUTES",
        ),
        "gre1",
    ),
    "martian-source, before a martian destination": (
        on_tunnel(inside("224.0.0.9", "127.0.0.1"), GRE, host=host(), place=FINISH),
        "gre1",
    ),
    "rp-filter": (
        on_tunnel(
            *(inside(STRANGER), GRE),
            host=host(rp=(0, 1), routes=ASYMMETRIC),
            place=FINISH,
            reason="IP_RPFILTER",
        ),
        "gre1",
    ),
    "rp-filter, no way back": (
        on_tunnel(
            *(inside(STRANGER), GRE), host=host(rp=(2, 0)), place=FINISH, reason="IP_RPFILTER"
        ),
        "gre1",
    ),
    "rp-filter, our own address": (
        on_tunnel(
            *(inside(INNER_B), GRE),
            host=host(rp=(1, 0), accept=(0, 1)),
            place=FINISH,
            reason="IP_RPFILTER",
        ),
        "gre1",
    ),
    "rp-filter, in a VRF": (
        on_tunnel(
            *(inside(STRANGER), GRE),
            host=replace(host(rp=(0, 1)), own_in={VRF: (INNER_B,)}, devices=IN_VRF),
            place=FINISH,
            reason=None,
        ),
        "gre1",
    ),
    "rp-filter, without a reason": (
        on_tunnel(*(inside(STRANGER), GRE), host=host(rp=(1, 1)), place=FINISH, reason=None),
        "gre1",
    ),
    "rp-filter-outer": (
        at(
            *(gre_packet(A, B), GRE),
            iif="vb",
            host=host(rp=(1, 0), device="vb", routes={A: by(LAN, "lan0")}),
            place=FINISH,
            reason="IP_RPFILTER",
        ),
        "gre1",
    ),
    "martian-source": (
        on_tunnel(*(inside(INNER_B), GRE), host=host(), place=FINISH, reason="NOT_SPECIFIED"),
        "gre1",
    ),
    "martian-source, with a reason": (
        on_tunnel(*(inside(B), GRE), host=host(), place=FINISH, reason="IP_LOCAL_SOURCE"),
        "gre1",
    ),
    "martian-source, loopback": (
        on_tunnel(*(inside("127.0.0.1"), GRE), host=host(), place=FINISH, reason="IP_LOCALNET"),
        "gre1",
    ),
    "martian-source, loopback of IPv6": (
        on_tunnel(
            *(inside6("::1", "fd10::1"), GRE), place=Place("ip6_rcv_core"), reason="IP_INHDR"
        ),
        "gre1",
    ),
    "martian-source, multicast": (
        on_tunnel(*(inside("224.0.0.9"), GRE), place=FINISH, reason="NOT_SPECIFIED"),
        "gre1",
    ),
    "martian-source, outer": (
        at(*(gre_packet(B, B), GRE), iif="vb", host=host(device="vb"), place=FINISH),
        None,
    ),
    "other, own source is accepted": (
        on_tunnel(*(inside(INNER_B), GRE), host=host(accept=(1, 0)), place=FINISH),
        "gre1",
    ),
    "other, a source like any": (
        on_tunnel(*(inside(INNER_A), GRE), host=host(), place=FINISH),
        "gre1",
    ),
    "keepalive-unanswered, forwarding is off": (
        keepalive(ERROR, "IP_INADDRERRORS", host=host(), **ROUTED),
        "gre1",
    ),
    "keepalive-unanswered": (
        keepalive(FINISH, "NOT_SPECIFIED", host=host(forwarding=1)),
        "gre1",
    ),
    "keepalive-unanswered, rp_filter": (
        keepalive(FINISH, "IP_RPFILTER", host=host(rp=(1, 1), accept=(0, 1))),
        "gre1",
    ),
    "keepalive-unanswered, no route": (
        keepalive(ERROR, "IP_INNOROUTES", host=host(forwarding=1)),
        "gre1",
    ),
    "keepalive-unanswered, firewall": (
        keepalive(Place("nft_do_chain", "nf_tables"), "NETFILTER_DROP", host=host(), **ROUTED),
        "gre1",
    ),
    "keepalive-unanswered, tc": (
        keepalive(Place("__netif_receive_skb_core"), "TC_INGRESS", host=host()),
        "gre1",
    ),
    "keepalive-unanswered, xdp": (
        keepalive(Place("do_xdp_generic"), "NOT_SPECIFIED", host=host()),
        "gre1",
    ),
    "keepalive-unanswered, ip6gre": (
        on_tunnel(
            *(answer(B6, A6, protocol=0x86DD), GRE6),
            host=host(),
            place=Place("ip6_forward"),
            reason="IP_INADDRERRORS",
            **ROUTED,
        ),
        "gre1",
    ),
    "forwarding-off": (
        on_tunnel(
            *(inside(INNER_A, FAR), GRE),
            host=host(routes=TO_LAN),
            place=ERROR,
            reason="IP_INADDRERRORS",
            **ROUTED,
        ),
        "gre1",
    ),
    "forwarding-off, an address is missing": (
        on_tunnel(
            *(inside(INNER_A), GRE),
            host=host(own=(B,), routes={INNER_B: by(GRE1, "gre1")}),
            place=ERROR,
            reason="IP_INADDRERRORS",
            **ROUTED,
        ),
        "gre1",
    ),
    "forwarding-off, without a reason": (
        on_tunnel(*(inside(INNER_A, FAR), GRE), host=host(routes=TO_LAN), place=ERROR, reason=None),
        "gre1",
    ),
    "forwarding-off, IPv6": (
        on_tunnel(
            *(inside6("fd10::2", "2001:db8::9"), GRE),
            host=host(routes=TO_LAN),
            place=Place("ip6_forward"),
            reason="IP_INADDRERRORS",
            **ROUTED,
        ),
        "gre1",
    ),
    "other, IPv6 that forwards": (
        on_tunnel(
            *(inside6("fd10::2", "2001:db8::9"), GRE),
            host=host(forwarding=1, routes=TO_LAN),
            place=Place("ip6_forward"),
            reason="IP_INADDRERRORS",
            **ROUTED,
        ),
        "gre1",
    ),
    "no-route": (
        on_tunnel(
            *(inside(INNER_A, FAR), GRE),
            host=host(forwarding=1),
            place=ERROR,
            reason="IP_INNOROUTES",
        ),
        "gre1",
    ),
    "no-route, unreachable": (
        on_tunnel(
            *(inside(INNER_A, FAR), GRE),
            host=host(forwarding=1, routes={FAR: Route(error=113)}),
            place=ERROR,
            reason="NOT_SPECIFIED",
        ),
        "gre1",
    ),
    "no-route, IPv6": (
        on_tunnel(
            *(inside6("fd10::2", "2001:db8::9"), GRE),
            host=host(forwarding=1),
            place=Place("ip6_pkt_discard"),
            reason="IP_INNOROUTES",
        ),
        "gre1",
    ),
    "no-route, IPv6 prohibits": (
        on_tunnel(
            *(inside6("fd10::2", "2001:db8::9"), GRE),
            host=host(forwarding=1, routes={"2001:db8::9": Route(error=13)}),
            place=Place("ip6_pkt_prohibit"),
            reason="IP_INNOROUTES",
        ),
        "gre1",
    ),
    "other, ip_error of a host that does not forward": (
        on_tunnel(*(inside(INNER_A, FAR), GRE), host=host(), place=ERROR, reason="NOT_SPECIFIED"),
        "gre1",
    ),
    "mtu": (
        on_tunnel(
            *(ipv4(INNER_A, FAR, 17, bytes(1380), fragment=0x4000), GRE),
            host=host(forwarding=1, routes=TO_LAN),
            place=Place("ip_forward"),
            reason="PKT_TOO_BIG",
        ),
        "gre1",
    ),
    "mtu, TCP": (
        on_tunnel(
            *(ipv4(INNER_A, FAR, 6, bytes(1380), fragment=0x4000), GRE),
            host=host(forwarding=1, routes=TO_LAN),
            place=Place("ip_forward"),
            reason="PKT_TOO_BIG",
        ),
        "gre1",
    ),
    "mtu, IPv6": (
        on_tunnel(
            *(inside6("fd10::2", "2001:db8::9", 1380), GRE),
            host=host(forwarding=1, routes=TO_LAN),
            place=Place("ip6_forward"),
            reason="PKT_TOO_BIG",
        ),
        "gre1",
    ),
    "mtu, IPv6 on its way into another tunnel": (
        replace(
            on_tunnel(
                *(inside6("fd10::2", "2001:db8::9", 1380), tunnel("gre2", ifindex=GRE1)),
                host=host(routes={"2001:db8::9": by(GRE1, "gre2", mtu=1300)}),
                place=Place("ip6_forward"),
                reason="PKT_TOO_BIG",
                is_sent=True,
            ),
            iif="gre2",
        ),
        "gre2",
    ),
    "other, it fits by now": (
        on_tunnel(
            *(inside(INNER_A, FAR), GRE),
            host=host(forwarding=1, routes=TO_LAN),
            place=Place("ip_forward"),
            reason="PKT_TOO_BIG",
        ),
        "gre1",
    ),
}
