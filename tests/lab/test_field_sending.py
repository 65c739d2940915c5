# SPDX-License-Identifier: GPL-2.0-only
"""Set-ups from the field, sent: what keeps a tunnel from it, and advice that breaks nothing."""

from tests.lab.field import Row, pings_from_b, prove

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
