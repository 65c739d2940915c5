# SPDX-License-Identifier: GPL-2.0-only
"""Set-ups from the field, sent over IPv6: link-local ends, and tunnels in tunnels."""

from tests.lab.field import Row, pings_from_b, prove


def local(site, host):
    return f"fe80::{site.number}:{host}"


def link_local(*, has_address=True):
    """Tunnels between link-local addresses, of which only A's knows the link."""

    def make(site):
        for host, device, near in ((site.a, site.va, 2), (site.b, "vb", 1)):
            host.sysctl(f"net.ipv6.conf.{device}.disable_ipv6=0")
            if has_address or near == 2:
                host.ip(f"addr add {local(site, near)}/64 dev {device} nodad")
        site.tunnel(kind="ip6gre", ends=f"local {local(site, 1)} remote {local(site, 2)}")
        ends = f"local {local(site, 2)} remote {local(site, 1)} dev {site.va}"
        site.peer_tunnel(kind="ip6gre", ends=ends)

    return make


def give_address_and_link(site):
    site.b.ip(
        f"addr add {local(site, 1)}/64 dev vb nodad",
        f"link change gre1 type ip6gre local {local(site, 1)} remote {local(site, 2)} dev vb",
    )


def nested(site):
    """A tunnel over IPv6 in another, around whose packets none may be put."""
    for host, device, outer, name, near in (
        (site.a, site.va, f"o{site.number}", site.peer, 2),
        (site.b, "vb", "gre1", "gre2", 1),
    ):
        limit = "encaplimit 0" if near == 1 else ""
        far = 3 - near
        host.sysctl(f"net.ipv6.conf.{device}.disable_ipv6=0")
        host.ip(
            f"addr add {site.outer6(near)}/64 dev {device} nodad",
            f"link add {outer} type ip6gre local {site.outer6(near)} remote {site.outer6(far)}",
        )
        host.sysctl(f"net.ipv6.conf.{outer}.disable_ipv6=0")
        host.ip(
            f"link set {outer} up",
            f"addr add fd01:{site.number}::{near}/64 dev {outer} nodad",
            f"link add {name} type ip6gre local fd01:{site.number}::{near} "
            f"remote fd01:{site.number}::{far} {limit}",
            f"addr add {site.inner(near)}/24 dev {name}",
            f"link set {name} up",
        )


ROWS = {
    "link-local ends": Row(
        "tx-needs-device", link_local(), pings_from_b,
        words=("fe80::{site.number}:2 is link-local",),
        command="link change gre1 type ip6gre", more="dev vb", iif="gre1", flows=pings_from_b,
    ),
    "link-local ends, and nobody has the address": Row(
        "tx-needs-device", link_local(has_address=False), pings_from_b, notes=("Bind gre1",),
        iif="gre1", mends=give_address_and_link, flows=pings_from_b,
    ),
    "an encapsulation limit of 0": Row(
        "tx-encap-limit", nested, pings_from_b, words=("gre1 may not encapsulate what gre2 sends",),
        command="link change gre2 type ip6gre", more="encaplimit 4", iif="gre1",
        flows=pings_from_b,
    ),
}  # fmt: skip

told, test_told, test_mended, test_what_worked_before_still_works = prove(ROWS)
