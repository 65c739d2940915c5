# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/sending.py."""

from dataclasses import replace
from ipaddress import ip_address

from gretrace.kernel.surroundings import Nowhere
from gretrace.model import Device, Metadata, Place, RefusingRule, Route
from tests.frames import gre, gre_packet, ipv4, ipv6, udp
from tests.unit.cases import VB, A, B, tunnel
from tests.unit.host import GRE1, FakeHost, at, by, on_tunnel

INNER_A, INNER_B, OTHER, ROUTER = "10.10.10.2", "10.10.10.1", "20.1.1.99", "20.1.1.254"
A6, B6 = "fd00::2", "fd00::1"
GRE2 = 11
OURS = {"mtu": 1500, "ifindex": GRE1}
GRE = tunnel("gre1", **OURS)
KEYED = tunnel("gre1", key=4, ocsum=True, **OURS)
TAP = tunnel("gre1", kind="gretap", **OURS)
OVER6 = tunnel("gre1", kind="ip6gre", local=B6, remote=A6, **OURS)
NBMA = tunnel("gre1", remote=None, **OURS)
EXTERNAL = tunnel("gre1", local=None, remote=None, external=True, **OURS)
EXTERNAL6 = replace(EXTERNAL, kind="ip6gre", encap_limit=4)
BOUND = tunnel("gre1", link=VB, link_name="vb", **OURS)
ASYMMETRIC = tunnel("gre1", ikey=1, okey=4, **OURS)

XMIT = Place("ip_tunnel_xmit", "ip_tunnel")
XMIT_EXTERNAL = Place("ip_md_tunnel_xmit", "ip_tunnel")
XMIT6 = Place("ip6gre_tunnel_xmit", "ip6_gre")
FRAGMENT = Place("ip_fragment")
SILENCE = Place("neigh_invalidate")
QUEUE = Place("__neigh_event_send")

UNREACHABLE, UNREACHED, PROHIBITED, BLACKHOLE = 101, 113, 13, 22
DIRECT = by(VB, "vb", mtu=1500, source=ip_address(B))
BY_ROUTER = by(VB, "vb", mtu=1500, gateway=ip_address(ROUTER))


def host(*own, **routes):
    """A host with the tunnel's own address, and the way to the peer unless it is told otherwise."""
    return FakeHost(routes={A: DIRECT, A6: DIRECT} | routes, own=own or (B, B6))


def way(remote, route, *own):
    return host(*own, **{remote: route})


def inside(size=1):
    return udp(INNER_B, INNER_A, bytes(size - 28) if size > 28 else b"x")


def unsent(packet, ours, asked, *others, place=XMIT, **more):
    return on_tunnel(packet, ours, *others, host=asked, place=place, is_sent=True, **more)


def left(packet, ours, asked, *, place, **more):
    return at(packet, *ours, iif="vb", host=asked, place=place, is_sent=True, ifindex=VB, **more)


def outer(size=64, **header):
    return gre_packet(B, A, inside(size), **header)


def to_second(way_back, place=XMIT):
    """The way to gre1's remote leads into gre2, whose own way is `way_back`."""
    second = tunnel("gre2", remote=OTHER, ifindex=GRE2)
    asked = host(**{A: by(GRE2, "gre2", mtu=1476), OTHER: way_back})
    packet = ipv4(B, OTHER, 47, gre(inside()))
    return unsent(packet, GRE, asked, second, place=place)


DOWN = Device(VB, "vb", up=False, carrier=False)
CABLE = Device(VB, "vb", up=True, carrier=False)
IN_VRF = Device(VB, "vb", up=True, carrier=True, vrf="vrf0")
OWN_REMOTE = tunnel("gre1", remote=OTHER, key=4, **OURS)


def standing(device, **more):
    """A host whose tunnels stand on a device."""
    return replace(way(A, Route(error=UNREACHABLE)), devices={VB: device}, holders={B: VB}, **more)


def told(remote, way_there=DIRECT, *, local=None, **header):
    """A host whose route to A's end inside tells an external gre1 where to send."""
    metadata = Metadata(ip_address(remote), local and ip_address(local), **header)
    return host(**{INNER_A: by(GRE1, "gre1", metadata=metadata), remote: way_there})


def echoed(place, reason=None):
    """What comes back from a tunnel to anywhere: this host's own packet."""
    asked = host(B, INNER_B, **{INNER_A: by(GRE1, "gre1")})
    return on_tunnel(inside(), NBMA, host=asked, place=place, reason=reason)


EXPECTED = {
    "tx-no-nbma": (echoed(Place("ip_error"), "IP_INADDRERRORS"), "gre1"),
    "tx-no-nbma, on a router": (echoed(Place("ip_rcv_finish_core"), "NOT_SPECIFIED"), "gre1"),
    "tx-no-nbma, without a local address": (
        unsent(inside(), NBMA, host(), place=Place("neigh_connected_output")),
        "gre1",
    ),
    "tx-no-nbma, nobody answers ARP": (unsent(inside(), NBMA, host(), place=SILENCE), "gre1"),
    "tx-no-metadata": (
        unsent(inside(), EXTERNAL, host(), place=Place("gre_fb_xmit", "ip_gre")),
        "gre1",
    ),
    "tx-no-metadata, over IPv6": (
        unsent(inside(), replace(EXTERNAL, kind="ip6gre"), host(), place=XMIT6),
        "gre1",
    ),
    "tx-no-metadata, but of another version of IP": (
        unsent(inside(), EXTERNAL, told(A6), place=Place("gre_fb_xmit", "ip_gre")),
        "gre1",
    ),
    "tx-no-route, to where a route has an external tunnel send": (
        unsent(inside(), EXTERNAL, told(OTHER, Route(error=UNREACHABLE)), place=XMIT_EXTERNAL),
        "gre1",
    ),
    "tx-no-route, to where a route has an external tunnel send, over IPv6": (
        unsent(inside(), EXTERNAL6, told(A6, Route(error=UNREACHED)), place=XMIT6),
        "gre1",
    ),
    "tx-no-route, from where no route should have an external tunnel send": (
        unsent(inside(), EXTERNAL, told(A, local=OTHER), place=XMIT_EXTERNAL),
        "gre1",
    ),
    "tx-no-route, to where a program has an external tunnel send": (
        unsent(inside(), EXTERNAL, host(), place=XMIT_EXTERNAL),
        "gre1",
    ),
    "tx-loop, of an external tunnel": (
        unsent(inside(), EXTERNAL, told(OTHER, by(GRE1, "gre1", mtu=1476)), place=XMIT_EXTERNAL),
        "gre1",
    ),
    "tx-loop, of an external tunnel, over IPv6": (
        unsent(inside(), EXTERNAL6, told(A6, by(GRE1, "gre1", mtu=1476)), place=XMIT6),
        "gre1",
    ),
    "tx-mtu, of an external tunnel, over IPv6, with a key": (
        unsent(inside(1453), EXTERNAL6, told(A6, has_key=True), place=XMIT6),
        "gre1",
    ),
    "other, an external tunnel that could send by now": (
        unsent(inside(1456), EXTERNAL6, told(A6), place=XMIT6),
        "gre1",
    ),
    "tx-no-nbma, ARP itself": (
        unsent(b"\0" * 28, NBMA, host(), protocol=0x0806),
        "gre1",
    ),
    "tx-no-route, to where the next hop lives": (
        unsent(
            *(inside(), NBMA),
            replace(way(OTHER, Route(error=UNREACHABLE)), neighbours={INNER_A: OTHER}),
        ),
        "gre1",
    ),
    "tx-link-down": (unsent(inside(), BOUND, standing(DOWN)), "gre1"),
    "tx-link-down, of the local address": (unsent(inside(), GRE, standing(DOWN)), "gre1"),
    "tx-link-down, no carrier": (
        left(outer(), [GRE], replace(host(), devices={VB: CABLE}), place=SILENCE),
        "gre1",
    ),
    "tx-no-route, the underlay is in a VRF": (unsent(inside(), GRE, standing(IN_VRF)), "gre1"),
    "tx-no-route, by a rule": (
        unsent(
            *(inside(), GRE),
            replace(
                way(A, Route(error=UNREACHED, detour=DIRECT)),
                rule=RefusingRule(77, 100, "unreachable"),
            ),
        ),
        "gre1",
    ),
    "tx-no-route, a rule itself": (
        unsent(
            *(inside(), GRE),
            replace(way(A, Route(error=PROHIBITED)), rule=RefusingRule(78, None, "prohibit")),
        ),
        "gre1",
    ),
    "tx-remote-own": (
        at(
            *(gre_packet(B, OTHER, inside(), key=4), OWN_REMOTE),
            iif="lo",
            host=host(B, OTHER),
            ifindex=1,
        ),
        "gre1",
    ),
    "tx-remote-own, received by itself": (
        on_tunnel(
            *(inside(), tunnel("gre1", remote=B, **OURS)),
            host=host(B, INNER_B),
            place=Place("ip_error"),
            reason="IP_INADDRERRORS",
        ),
        "gre1",
    ),
    "no-neighbour": (
        replace(
            on_tunnel(
                *(udp(INNER_A, "10.20.0.9"), GRE),
                host=host(),
                place=SILENCE,
                leaving_by=VB,
            ),
            leaving_by="lan0",
        ),
        "gre1",
    ),
    "tx-no-route": (unsent(inside(), GRE, way(A, Route(error=UNREACHABLE))), "gre1"),
    "tx-no-route, blackhole": (unsent(inside(), GRE, way(A, Route(error=BLACKHOLE))), "gre1"),
    "tx-no-route, prohibit": (unsent(inside(), TAP, way(A, Route(error=PROHIBITED))), "gre1"),
    "tx-no-route, unreachable, over IPv6": (
        unsent(inside(), OVER6, way(A6, Route(error=UNREACHED)), place=XMIT6),
        "gre1",
    ),
    "tx-no-route, forwarded in by another device": (
        unsent(inside(), BOUND, way(A, Route(error=UNREACHABLE))),
        "gre1",
    ),
    "tx-no-route, the local address is gone": (unsent(inside(), GRE, host(OTHER)), "gre1"),
    "tx-no-route, the local address is gone, over IPv6": (
        unsent(inside(), OVER6, host(OTHER), place=XMIT6),
        "gre1",
    ),
    "tx-loop": (unsent(inside(), GRE, way(A, by(GRE1, "gre1", mtu=1476))), "gre1"),
    "tx-loop, over IPv6": (
        unsent(inside(), OVER6, way(A6, by(GRE1, "gre1", mtu=1476)), place=XMIT6),
        "gre1",
    ),
    "tx-loop, of two tunnels": (to_second(by(GRE1, "gre1", mtu=1476)), "gre1"),
    "tx-loop, of two tunnels, at the limit of all devices": (
        to_second(by(GRE1, "gre1", mtu=1476), place=Place("kfree_skb_list_reason")),
        "gre1",
    ),
    "other, at the limit of all devices without a loop": (
        unsent(inside(), GRE, host(), place=Place("kfree_skb_list_reason")),
        "gre1",
    ),
    "tx-mtu": (unsent(inside(1477), GRE, host()), "gre1"),
    "tx-mtu, key and checksum": (unsent(inside(1469), KEYED, host()), "gre1"),
    "tx-mtu, gretap": (unsent(inside(1463), TAP, host()), "gre1"),
    "tx-mtu, IPv6 inside": (
        unsent(ipv6(A6, B6, 17, bytes(1437)), GRE, host()),
        "gre1",
    ),
    "tx-mtu, over IPv6": (unsent(inside(1449), OVER6, host(), place=XMIT6), "gre1"),
    "tx-mtu, a smaller path": (
        unsent(inside(1377), GRE, way(A, by(VB, "vb", mtu=1400))),
        "gre1",
    ),
    "tx-mtu, a tunnel in a tunnel": (
        unsent(inside(1453), GRE, way(A, by(GRE2, "gre2", mtu=1476))),
        "gre1",
    ),
    "tx-mtu, encapsulated": (left(outer(1477), [GRE], host(), place=FRAGMENT), "gre1"),
    "tx-mtu, encapsulated, another key than it takes": (
        left(outer(1477, key=4), [ASYMMETRIC], host(), place=FRAGMENT),
        "gre1",
    ),
    "tx-no-neighbour": (left(outer(), [GRE], host(), place=SILENCE), "gre1"),
    "tx-no-neighbour, a router": (
        left(outer(), [BOUND], way(A, BY_ROUTER), place=SILENCE, reason="NEIGH_FAILED"),
        "gre1",
    ),
    "tx-no-neighbour, over IPv6": (
        left(
            ipv6(B6, A6, 47, gre(inside())), [OVER6], host(), place=SILENCE, reason="NOT_SPECIFIED"
        ),
        "gre1",
    ),
    "tx-no-neighbour, the queue is full": (
        left(outer(), [GRE], host(), place=QUEUE, reason="NEIGH_QUEUEFULL"),
        "gre1",
    ),
    "tx-no-neighbour, of no tunnel": (left(outer(), [], host(), place=SILENCE), None),
    "tx-no-neighbour, inside a gretap tunnel": (
        unsent(inside(), TAP, way(INNER_A, by(GRE1, "gre1")), place=SILENCE),
        "gre1",
    ),
    "tx-no-route, so that no neighbour inside is asked": (
        unsent(inside(), TAP, way(A, Route(error=UNREACHABLE)), place=SILENCE),
        "gre1",
    ),
    "tx-loop, so that no neighbour inside is asked": (
        unsent(inside(), TAP, way(A, by(GRE1, "gre1")), place=SILENCE),
        "gre1",
    ),
    "tx-no-route, the kernel's own question": (
        unsent(bytes(28), TAP, way(A, Route(error=UNREACHABLE))),
        "gre1",
    ),
    "other, the tunnel could send by now": (unsent(inside(), GRE, host()), "gre1"),
    "other, what fits is not too long": (unsent(inside(1476), GRE, host()), "gre1"),
    "other, an aggregate is cut anyway": (unsent(inside(9000), GRE, host()), "gre1"),
    "other, the way leads into another tunnel that can send": (to_second(DIRECT), "gre1"),
    "other, an NBMA tunnel": (
        unsent(inside(1477), NBMA, way(A, Route(error=UNREACHABLE))),
        "gre1",
    ),
    "other, nothing is known of the host": (unsent(inside(), GRE, Nowhere()), "gre1"),
    "other, cut where it fits": (left(outer(1476), [GRE], host(), place=FRAGMENT), None),
    "other, too long, and not ours": (left(outer(1477), [], host(), place=FRAGMENT), None),
}
