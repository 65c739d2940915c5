# SPDX-License-Identifier: GPL-2.0-only
"""What gretrace has of each kind of tunnel is what the kernel makes of it."""

from contextlib import closing
from dataclasses import replace
from itertools import product

from gretrace.host.tunnels import TunnelTable
from gretrace.host.tunnels_file import parse_tunnels
from gretrace.kernel.kinds import FALLBACKS, default_mtu, kind_of
from gretrace.model import Encap
from tests.lab.hosts import hosts, run

UNDERLAYS = {"u1": 1500, "u2": 9000, "u3": 1300}  # by device; each has a network of its own
LIMITS = (None, "none", 0)
KEYS = (None, "key 5", "ikey 5", "okey 5")
CHECKS = ("", "csum", "ocsum", "icsum")
NUMBERS = ("", "seq", "oseq")
ENCAPS = {
    "": None,
    "encap fou encap-sport auto encap-dport 5555": Encap("fou", dport=5555),
    "encap gue encap-sport 7000 encap-dport 6080 encap-csum": Encap("gue", 7000, 6080, csum=True),
    "encap gue encap-sport auto encap-dport 6080 encap-udp6-csum encap-remcsum": Encap(
        "gue", dport=6080, csum6=True, remcsum=True
    ),
}


def options(kind):
    """The options of each kind, all with all, in words; ERSPAN must have some."""
    if "erspan" in kind:
        for encap in ENCAPS:
            versions = (1, 2) if kind == "ip6erspan" else (0, 1, 2)
            for version in versions:
                numbered = "seq key 5" if version else ""
                yield f"erspan_ver {version} {numbered} {encap}", encap
        return
    for key, check, numbers, encap in product(KEYS, CHECKS, NUMBERS, ENCAPS):
        yield f"{key or ''} {check} {numbers} {encap}", encap


def added():
    """Every tunnel: its name, the words that make it, its underlay and its encap."""
    number = 0
    for kind in ("gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan"):
        over6 = kind.startswith("ip6")
        limits = LIMITS if over6 else (None,)
        for (words, encap), limit in product(options(kind), limits):
            number += 1
            # Not every option with every underlay: the underlay is but a term of the sum.
            device = list(UNDERLAYS)[number % len(UNDERLAYS)]
            net = device[1:]
            ends = (
                f"local fd0{net}::1 remote fd0{net}::{number + 10:x}"
                if over6
                else f"local 10.{net}.0.1 remote 10.{net}.{number // 200 + 1}.{number % 200 + 10}"
            )
            limit_words = "" if limit is None else f"encaplimit {limit}"
            name = f"t{number}"
            yield name, f"link add {name} type {kind} {ends} {words} {limit_words}", device, encap
        number += 1
        # Without a remote: no way is asked for.
        if kind in ("gre", "ip6gre"):
            yield f"t{number}", f"link add t{number} type {kind} key {number}", None, ""
        # ip6gre and ip6gretap have one place between them for what is external (collect_md_tun).
        if kind != "ip6gretap":
            yield f"x{number}", f"link add x{number} type {kind} external", None, ""


def as_made(tunnel, encap):
    """What iproute2 makes of it: over IPv6 it asks for the checksum of UDP by itself."""
    over6 = encap and kind_of(tunnel).family == 6
    return replace(encap, csum6=True) if over6 else encap


def read(host):
    """The tunnels of a host, by their names."""
    with closing(TunnelTable(host.namespace)) as table:
        return {tunnel.name: tunnel for tunnel in table.tunnels}


def test_the_mtu_is_the_kernels_own_for_every_kind_and_option():
    for module in ("fou", "fou6", "ip_gre", "ip6_gre"):
        run("modprobe", module)
    wanted = list(added())
    with hosts("b") as (b,):
        b.sysctl("net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0")
        for device, mtu in UNDERLAYS.items():
            b.ip(
                f"link add {device} mtu {mtu} type dummy",
                f"link set {device} up",
                f"addr add 10.{device[1:]}.0.1/16 dev {device}",
                f"addr add fd0{device[1:]}::1/64 dev {device} nodad",
            )
        b.ip(*(line for _, line, _, _ in wanted))
        tunnels = read(b)
        told = b.run("ip", "-d", "-j", "link", "show").stdout
        b.ip(*(f"link del {name}" for name in tunnels if name.startswith("x")))
        b.ip("link add x type ip6gretap external")
        last = read(b)["x"]
        assert last.mtu == default_mtu(last)
    assert set(FALLBACKS) <= set(tunnels)
    wrong = [
        f"{tunnels[name].mtu} not {expected}: {line}"
        for name, line, device, _ in wanted
        if tunnels[name].mtu
        != (expected := default_mtu(tunnels[name], UNDERLAYS.get(device, 1500)))
    ]
    wrong += [
        f"{tunnels[name].mtu}: {name}"
        for name in FALLBACKS
        if tunnels[name].mtu != default_mtu(tunnels[name])
    ]
    wrong += [
        f"{tunnels[name].encap}: {line}"
        for name, line, _, encap in wanted
        if tunnels[name].encap != as_made(tunnels[name], ENCAPS[encap])
    ]
    assert not wrong, "\n".join(wrong)
    # iproute2 tells the same of each tunnel as netlink does.
    as_told = {tunnel.name: tunnel for tunnel in parse_tunnels(told, "ip")}
    differing = [
        f"{name}: {(there.erspan_version, there.encap_limit, there.encap)} not "
        f"{(here.erspan_version, here.encap_limit, here.encap)}"
        for name, here in tunnels.items()
        if (there := as_told[name])
        and (there.erspan_version, there.encap_limit, there.encap)
        != (here.erspan_version, here.encap_limit, here.encap)
    ]
    assert not differing, "\n".join(differing)
    assert len(wanted) > 400
