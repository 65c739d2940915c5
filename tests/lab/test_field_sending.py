# SPDX-License-Identifier: GPL-2.0-only
"""Set-ups from the field, sent: what keeps a tunnel from it, and advice that breaks nothing."""

from tests.lab.field import SENT, Row, pings_from_b, prove
from tests.lab.ping import Ping

STRANGER = "99.1.1.1"


def nbma(more="", *, local=True, lines=(), sysctl=()):
    """A tunnel to whom the neighbour entries name, and a peer of the same kind."""

    def make(site):
        site.tunnel(f"key 1 {more}", ends=f"local {site.near}" if local else "")
        site.b.sysctl(*("net.ipv4.neigh.gre1.retrans_time_ms=200", *sysctl))
        site.b.ip(*(line.format(site=site) for line in lines))
        site.peer_tunnel("key 1", ends=f"local {site.far}")
        site.a.ip(f"neigh add {site.in_b} lladdr {site.near} dev {site.peer}")

    return make


def told_where(site):
    """What a person does who knows where the next hop lives."""
    site.b.ip(f"neigh replace {site.in_a} lladdr {site.far} dev gre1 nud permanent")


def ends(ours="", *, lines=(), peers="", local=None, remote=None):
    """Tunnels at both ends; what else B is told comes behind them."""

    def make(site):
        own = (local or "{site.near}").format(site=site)
        other = (remote or "{site.far}").format(site=site)
        site.tunnel(ours, ends=f"local {own} remote {other}")
        site.peer_tunnel(peers)
        site.b.ip(*(line.format(site=site) for line in lines))

    return make


def ends6(ours="", *, lines=()):
    """The same over IPv6; B has its address only once it was told all else."""

    def make(site):
        site.b.ip(*(line.format(site=site) for line in lines))
        over_ipv6(site)
        site.tunnel(ours, kind="ip6gre", ends=f"local {site.outer6(1)} remote {site.outer6(2)}")
        site.peer_tunnel(kind="ip6gre", ends=f"local {site.outer6(2)} remote {site.outer6(1)}")

    return make


def over_ipv6(site):
    for host, device, number in ((site.a, site.va, 2), (site.b, "vb", 1)):
        host.sysctl(f"net.ipv6.conf.{device}.disable_ipv6=0")
        host.ip(f"addr add {site.outer6(number)}/64 dev {device} nodad")


def away(site, kind="gre"):
    """Another address of A's."""
    return f"fd99:{site.number}::1" if kind == "ip6gre" else f"99.{site.number}.1.1"


def behind(site):
    """Whom a route tells an external tunnel how to reach."""
    return site.inner(9, 50)


def external(*lines, kind="gre", route="encap {header} id 7 dst {away} key"):
    """An external tunnel, whose route says where to send; A has a tunnel that would take it."""

    def make(site):
        if kind == "ip6gre":
            over_ipv6(site)
        header = "ip6" if kind == "ip6gre" else "ip"
        words = {"site": site, "header": header, "away": away(site, kind)}
        site.tunnel("external", kind=kind, ends="", up=False)
        # Without an address of the link it asks for no router.
        site.b.ip("link set gre1 addrgenmode none", "link set gre1 up")
        if kind == "ip6gre":
            site.b.sysctl("net.ipv6.conf.gre1.disable_ipv6=0")
        site.b.ip(
            f"route add {behind(site)} {route.format(**words)} dev gre1",
            *(line.format(**words) for line in lines),
        )
        near = site.outer6(1) if kind == "ip6gre" else site.near
        site.peer_tunnel("key 7", kind=kind, ends=f"local {away(site, kind)} remote {near}")
        device = site.va if kind == "ip6gre" else "lo"
        site.a.ip(f"addr add {away(site, kind)} dev {device}", f"addr add {behind(site)} dev lo")

    return make


def pings_behind(site, size=56, count=SENT):
    return Ping(site.b, behind(site), count, size=size, fragment="do")


def pings_too_long(site):
    return pings_behind(site, 1472, 1)


def routed(kind="gre"):
    """What a person does who knows by whom A's other address is reached."""

    def route(site):
        router = site.outer6(2) if kind == "ip6gre" else site.far
        site.b.ip(f"route replace {away(site, kind)} via {router} dev vb")

    return route


def told_by_route(site):
    site.b.ip(f"route replace {behind(site)}/32 encap ip id 7 dst {away(site)} key dev gre1")
    routed()(site)


def told_by_tc(site):
    """No route, but an action of tc on the tunnel itself says where to send."""
    external(route="")(site)
    action = f"action tunnel_key set src_ip {site.near} dst_ip {away(site)} id 7 nocsum"
    site.b.shell(
        "tc qdisc add dev gre1 clsact && "
        f"tc filter add dev gre1 egress protocol ip matchall {action}"
    )


IN_VRF = (
    "link add vrf0 type vrf table 10",
    "link set vrf0 up",
    "link set vb master vrf0",
    "link change by0 type gre local {site.near} remote {site.beside} key 909 ttl 255 dev vrf0",
)
NO_NBMA = {
    "words": ("gre1", "{site.in_a}"),
    "notes": ("ip -n {site.b.name} neigh add {site.in_a} lladdr NBMA dev gre1", "NHRP"),
    "unsaid": ("addr add",), "mends": told_where, "flows": pings_from_b, "count": None,
}  # fmt: skip

ROWS = {
    "mGRE, nobody says where the next hop lives": Row(
        "tx-no-nbma", nbma(), pings_from_b, **NO_NBMA
    ),
    "mGRE, with ARP on": Row(
        "tx-no-nbma", nbma(lines=("link set gre1 arp on",)), pings_from_b,
        # The request for the next hop is freed before it is built, and names nobody.
        **NO_NBMA | {
            "words": ("gre1", "no neighbour entry"), "notes": ("lladdr NBMA dev gre1", "NHRP"),
        },
    ),
    "mGRE, without a local address": Row(
        "tx-no-nbma", nbma(local=False), pings_from_b, **NO_NBMA
    ),
    "mGRE, on a router": Row(
        "tx-no-nbma", nbma(sysctl=("net.ipv4.ip_forward=1",)), pings_from_b, **NO_NBMA
    ),
    "mGRE, the next hop lives where no route leads": Row(
        "tx-no-route",
        nbma(lines=("neigh add {site.in_a} lladdr 99.1.1.1 dev gre1 nud permanent",)),
        pings_from_b, words=(STRANGER, "{site.in_a}"), mends=told_where, flows=pings_from_b,
    ),
    "the underlay is in a VRF": Row(
        "tx-no-route", ends(lines=IN_VRF), pings_from_b, words=("VRF vrf0",),
        unsaid=("none of this host",), command="link change gre1 type gre", more="dev vrf0",
        flows=pings_from_b,
    ),
    "the underlay is in a VRF, over IPv6": Row(
        "tx-no-route", ends6(lines=IN_VRF), pings_from_b, words=("VRF vrf0",),
        unsaid=("none of this host",), command="link change gre1 type ip6gre", more="dev vrf0",
        flows=pings_from_b,
    ),
    "external, and no route says where to send": Row(
        "tx-no-metadata", external(route=""), pings_behind, words=("gre1", "10.{site.number}.50.9"),
        notes=("encap ip id KEY dst PEER key dev gre1",), mends=told_by_route, flows=pings_behind,
    ),
    "external, and no route leads to where it should send": Row(
        "tx-no-route", external(), pings_behind, words=("99.{site.number}.1.1", "no route"),
        mends=routed(), flows=pings_behind,
    ),
    "external, and the way leads back into it": Row(
        "tx-loop", external("route add {away} dev gre1"), pings_behind,
        words=("99.{site.number}.1.1", "leads into gre1 itself"), mends=routed(),
        flows=pings_behind,
    ),
    "external, and nobody knows what an action says": Row(
        "tx-no-route", told_by_tc, pings_behind, confidence="likely", words=("most likely",),
        notes=("tunnel_key",), mends=routed(), flows=pings_behind,
    ),
    "external, over IPv6, and no route leads to where it should send": Row(
        "tx-no-route", external(kind="ip6gre"), pings_behind,
        words=("fd99:{site.number}::1", "no route"), mends=routed("ip6gre"), flows=pings_behind,
    ),
    "external, over IPv6, and the way leads back into it": Row(
        "tx-loop", external("route add {away} dev gre1", kind="ip6gre"), pings_behind,
        words=("fd99:{site.number}::1", "leads into gre1 itself"), mends=routed("ip6gre"),
        flows=pings_behind,
    ),
    "external, over IPv6, too long": Row(
        "tx-mtu",
        external(
            "route add {away} via fd00:{site.number}::2 dev vb", "link set gre1 mtu 1500",
            kind="ip6gre",
        ),
        pings_too_long, words=("only 1452 fit",), command="link set gre1 mtu 1452", count=1,
        flows=lambda site: pings_behind(site, 1452 - 28),
    ),
    "the device that it is bound to is down": Row(
        "tx-link-down", ends("dev vb", lines=("link set vb down",)), pings_from_b,
        words=("vb", "is down"), command="link set vb up", flows=pings_from_b,
    ),
    "the device of its local address is down": Row(
        "tx-link-down", ends(lines=("link set vb down",)), pings_from_b,
        words=("vb", "is down"), command="link set vb up", flows=pings_from_b,
    ),
    "the underlay has no carrier": Row(
        "tx-link-down",
        lambda site: [ends("dev vb")(site), site.a.ip(f"link set {site.va} down")],
        pings_from_b, words=("vb", "no carrier"), where="path", count=None, iif="vb",
        mends=lambda site: site.a.ip(f"link set {site.va} up"), flows=pings_from_b,
        has_bystander=False,  # it goes by the wire that was cut
    ),
    "a rule leads to a table that refuses": Row(
        "tx-no-route",
        ends(
            lines=(
                "rule add to {site.far} lookup 100 priority 77",
                "route add unreachable {site.far} table 100",
            )
        ),
        pings_from_b, words=("unreachable", "table 100", "rule 77"),
        command="route replace {site.far}/32", more="table 100", flows=pings_from_b,
    ),
    "a rule that refuses by itself": Row(
        "tx-no-route", ends(lines=("rule add to {site.far} prohibit priority 78",)),
        pings_from_b, words=("prohibit", "rule 78"), command="rule add to", more="lookup main",
        flows=pings_from_b,
    ),
    "the remote is an address of this host": Row(
        "tx-remote-own",
        ends(remote="20.{site.number}.1.9", lines=("addr add 20.{site.number}.1.9/24 dev vb",)),
        pings_from_b, words=("20.{site.number}.1.9", "gre1", "this host"), where="here",
        mends=lambda site: site.b.ip(
            f"link change gre1 type gre local {site.near} remote {site.far}"
        ),
        flows=pings_from_b,
    ),
    "the remote is the local address": Row(
        "tx-remote-own", ends(remote="{site.near}"), pings_from_b,
        words=("{site.near}", "gre1", "this host"),
        mends=lambda site: site.b.ip(
            f"link change gre1 type gre local {site.near} remote {site.far}"
        ),
        flows=pings_from_b,
    ),
}  # fmt: skip

told, test_told, test_mended, test_what_worked_before_still_works = prove(ROWS)
