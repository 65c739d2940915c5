# SPDX-License-Identifier: GPL-2.0-only
"""Set-ups from the field: the packets of a tunnel come in UDP, and nothing has opened the port."""

from tests.lab.field import Row, pings_from_a, pings_from_b, prove
from tests.lab.hosts import run
from tests.lab.ping import Ping, ping_all
from tests.lab.test_field_blind import UNDERLAY_IN_VRF, every, port


def around(kind, site, *, to=0):
    return f"encap {kind} encap-sport auto encap-dport {port(site) + to}"


def in_udp(kind, ours="{}"):
    """Tunnels at both ends, of which only A listens; `ours` is what B's says of UDP."""

    def make(site):
        run("modprobe", "fou")
        what = "gue" if kind == "gue" else "ipproto 47"
        site.a.ip(f"fou add port {port(site)} {what}")
        site.tunnel("key 1 " + ours.format(around(kind, site)))
        site.peer_tunnel(f"key 1 {around(kind, site)}")

    return make


def over_ipv6(site):
    run("modprobe", "-a", "fou", "fou6")
    for host, device, near in ((site.a, site.va, 2), (site.b, "vb", 1)):
        host.sysctl(f"net.ipv6.conf.{device}.disable_ipv6=0")
        host.ip(f"addr add {site.outer6(near)}/64 dev {device} nodad")
    site.a.ip(f"fou add port {port(site)} ipproto 47 -6")
    ends = f"local {site.outer6(1)} remote {site.outer6(2)}"
    site.tunnel(f"key 1 {around('fou', site)}", kind="ip6gre", ends=ends)
    ends = f"local {site.outer6(2)} remote {site.outer6(1)}"
    site.peer_tunnel(f"key 1 {around('fou', site)}", kind="ip6gre", ends=ends)


def silent(site):
    """What leaves in UDP waits for a neighbour that is not there."""
    run("modprobe", "fou")
    ends = f"local {site.near} remote {site.outer(77)}"
    site.tunnel(f"key 1 {around('fou', site)}", ends=ends)


def beside_a_stranger(site):
    """Ping, and send to another closed port what is for no tunnel of B's."""
    site.a.ip(
        f"link add s{site.number} type gre local {site.far} remote {site.near} key 7 "
        f"{around('fou', site, to=1)}",
        f"addr add 99.3.{site.number}.2/24 dev s{site.number}",
        f"link set s{site.number} up",
    )
    ping_all([Ping(site.a, f"99.3.{site.number}.1", 3)], patience=0)
    return pings_from_a(site)


CLOSED = {"iif": "vb", "flows": pings_from_a}
ROWS = {
    "FOU": Row(
        "encap-port-closed", in_udp("fou"), beside_a_stranger,
        words=("packets of gre1 by FOU", "UDP port 55{site.number:02}"),
        command="fou add port 55{site.number:02} ipproto 47", **CLOSED,
    ),
    "GUE": Row(
        "encap-port-closed", in_udp("gue"), pings_from_a,
        words=("packets of gre1 by GUE", "UDP port 55{site.number:02}"),
        command="fou add port 55{site.number:02} gue", **CLOSED,
    ),
    "FOU over IPv6": Row(
        "encap-port-closed", over_ipv6, pings_from_a, words=("packets of gre1 by FOU",),
        command="fou add port 55{site.number:02} ipproto 47 -6", **CLOSED,
    ),
    "a tunnel that sends without UDP": Row(
        "encap-port-closed", in_udp("fou", ours=""), pings_from_a, confidence="likely",
        words=("packets of gre1 by FOU",), command="fou add port 55{site.number:02} ipproto 47",
        **CLOSED,
    ),
    "FOU in a VRF": Row(
        "encap-port-closed", every(UNDERLAY_IN_VRF, in_udp("fou", ours="{} dev vrf0")),
        pings_from_a, words=("packets of gre1 by FOU", "in the VRF vrf0"),
        command="sysctl -w net.ipv4.udp_l3mdev_accept=1",
        more="fou add port 55{site.number:02} ipproto 47", flows=pings_from_a,
    ),
    "FOU, and the next hop is silent": Row(
        "tx-no-neighbour", silent, pings_from_b, iif="vb", where="path",
        words=("20.{site.number}.1.77 does not answer ARP on vb", "what gre1 sends"),
        command="neigh show 20.{site.number}.1.77", is_mended=False,
    ),
}  # fmt: skip

told, test_told, test_mended, test_what_worked_before_still_works = prove(ROWS)
