# SPDX-License-Identifier: GPL-2.0-only
"""The model is the kernel's equal: random tunnels, random packets, and both are asked.

GRETRACE_SEED=N replays the one table whose disagreement was printed.
"""

import os
import random
from contextlib import closing, contextmanager
from functools import cache
from ipaddress import ip_address

from pyroute2 import IPRoute

from gretrace.engine import open_lookups
from gretrace.engine.decode import decode_decision
from gretrace.engine.wanted import Wanted
from gretrace.host.namespaces import entered
from gretrace.host.tunnels import TunnelTable
from gretrace.kernel.lookup import Query
from tests.frames import gre, ipv4, ipv6, udp
from tests.lab.hosts import hosts, wire
from tests.lab.session import ENGINE

TABLES = 200
PACKETS = 110
TUNNELS_AT_MOST = 24
GROUP = 77  # of links, so that a whole table is deleted in one go
TEB, ERSPAN, ERSPAN2, WCCP = 0x6558, 0x88BE, 0x22EB, 0x883E
DEVICES = ("vb", "vd")
KINDS = {4: ("gre", "gre", "gretap", "erspan"), 6: ("ip6gre", "ip6gre", "ip6gretap", "ip6erspan")}
FALLBACKS = {4: ("gre0", "gretap0", "erspan0"), 6: ("ip6gre0",)}
OURS = {4: ("20.1.1.1", "20.1.1.3", "20.1.1.5"), 6: ("fd00::1", "fd00::3", "fd00::5")}
THEIRS = {4: ("20.1.1.2", "20.1.1.4", "20.1.1.6"), 6: ("fd00::2", "fd00::4", "fd00::6")}
GROUPS = {4: "239.1.1.1", 6: "ff05::1:1"}
KEYS = (None, None, 0, 1, 2, 129)  # 129 shares bits with 1


@contextmanager
def lab():
    """A sender A with two wires to B, which owns OURS and has joined GROUPS on both."""
    with hosts("a", "b") as (a, b):
        for index, (theirs, ours) in enumerate((("va", "vb"), ("vc", "vd"))):
            wire(a, theirs, f"10.{index}.0.2/24", b, ours, f"10.{index}.0.1/24")
            b.sysctl(f"net.ipv6.conf.{ours}.disable_ipv6=0", f"net.ipv4.conf.{ours}.rp_filter=0")
            b.ip(
                f"addr add {GROUPS[4]}/32 dev {ours} autojoin",
                f"addr add {GROUPS[6]}/128 dev {ours} autojoin",
            )
        b.sysctl("net.ipv6.conf.lo.disable_ipv6=0", "net.ipv4.conf.all.rp_filter=0")
        b.ip(
            *(f"addr add {address}/32 dev lo" for address in OURS[4]),
            *(f"addr add {address}/128 dev lo nodad" for address in OURS[6]),
            "route add default via 10.0.0.2 dev vb",
            "route add ::/0 dev vb",
        )
        yield a, b


def random_tunnel(rng, name):
    """The words of `ip link add` for a tunnel, which the kernel may refuse as one too many."""
    version = rng.choice((4, 4, 6))
    kind = rng.choice(KINDS[version])
    words = [f"link add {name} group {GROUP} type {kind}"]
    if rng.random() < 0.06:
        words.append("external")
        return " ".join(words)
    remote = rng.choice((*THEIRS[version], *THEIRS[version], None, GROUPS[version]))
    local = rng.choice((*OURS[version], None))
    words.append(f"remote {remote or 'any'} local {local or 'any'}")
    key = rng.choice(KEYS)
    if "erspan" in kind:
        words.append("seq")
        words.append(f"erspan_ver {rng.choice((1, 2))}" if rng.random() < 0.8 else "erspan_ver 0")
    if key is not None:
        words.append(f"ikey {key} okey {key}")
    link = rng.choice((None, None, *DEVICES))
    if link:
        words.append(f"dev {link}")
    elif remote == GROUPS[version]:
        # A multicast tunnel cannot be set up where nothing leads to its group.
        words.append(f"dev {rng.choice(DEVICES)}")
    if version == 6 and rng.random() < 0.5:
        words.append("encaplimit none")
    return " ".join(words)


def brought_up(line):
    """The same tunnel, up from its start.

    To set one up that was refused would have the kernel look for a module of its name, twice,
    and in emulation a modprobe takes half a second.
    """
    return line.replace(" type ", " up type ", 1)


def make_table(rng, host):
    """Make random tunnels; returns how, to be printed."""
    lines = [f"link del group {GROUP}"]
    for number in range(rng.randrange(1, TUNNELS_AT_MOST)):
        line = random_tunnel(rng, f"t{number}")
        lines.append(brought_up(line) if rng.random() < 0.85 else line)
    lines += [
        f"link set {name} {'up' if rng.random() < 0.3 else 'down'}"
        for version in (4, 6)
        for name in FALLBACKS[version]
    ]
    # Some are refused: tunnels that are alike, or too few parameters.
    host.try_ip(*lines)
    if rng.random() < 0.3:
        add_stray_key(rng, host)
    return lines


def add_stray_key(rng, host):
    """Make a tunnel that has a key, but not the flag that says so; ip cannot."""
    with entered(host.namespace), IPRoute() as netlink:
        netlink.link(
            "add",
            ifname="stray",
            kind="gre",
            gre_local=rng.choice(OURS[4]),
            gre_remote=rng.choice(THEIRS[4]),
            gre_ikey=rng.choice((1, 2)),
        )
        (stray,) = netlink.link_lookup(ifname="stray")
        netlink.link("set", index=stray, group=GROUP, state="up")


def random_packet(rng):
    """A sound GRE packet, and what the kernel looks up of it."""
    version = rng.choice((4, 4, 6))
    remote = rng.choice(THEIRS[version])
    local = rng.choice((*OURS[version], *OURS[version], GROUPS[version]))
    protocol = rng.choice((0x0800, 0x0800, 0x86DD, TEB, TEB, ERSPAN, ERSPAN2, WCCP, 0))
    sequence, checksum = rng.choice((None, 7)), rng.random() < 0.2
    if protocol == ERSPAN and rng.random() < 0.4:
        # Type I: four bytes of GRE header and no key.
        return packet(version, remote, local, protocol)
    if protocol in (ERSPAN, ERSPAN2):
        return packet(version, remote, local, protocol, session=rng.choice((0, 1, 2, 129)))
    key = rng.choice(KEYS)
    return packet(version, remote, local, protocol, key, sequence=sequence, checksum=checksum)


# There are fewer of them than are sent.
@cache
def packet(version, remote, local, protocol, key=None, *, session=None, **fields):
    payload = udp("10.10.10.2", "10.10.10.1") + bytes(32)
    if session is None:
        header = gre(payload, protocol=protocol, key=key, **fields)
    else:
        version_bits = 1 if protocol == ERSPAN else 2
        words = (version_bits << 28 | session).to_bytes(4, "big") + bytes(8)
        header, key = gre(words + payload, protocol=protocol, sequence=7), session
    make = ipv6 if version == 6 else ipv4
    query = Query(ip_address(remote), ip_address(local), key, protocol)
    return make(remote, local, 47, header), query


def compare(seed, senders, b, lookups):
    """Ask both about one random table; returns what they disagree on, in words."""
    rng = random.Random(seed)
    lines = make_table(rng, b)
    with closing(TunnelTable(b.namespace)) as table:
        tables = table.tables
        links = {name: table.link_index(name) for name in DEVICES}
    sent = []
    for _ in range(PACKETS):
        packet, query = random_packet(rng)
        wire_index = rng.randrange(2)
        senders[wire_index](packet)
        sent.append((packet, query, DEVICES[wire_index]))
    decisions = [decode_decision(event, 0) for event in lookups.take()]
    wrong = []
    if len(decisions) != len(sent):
        wrong.append(f"{len(sent)} packets, {len(decisions)} decisions")
    for (packet, query, device), decision in zip(sent, decisions, strict=False):
        seen = (decision.remote, decision.local, decision.key, decision.protocol, decision.ifindex)
        asked = Query(query.remote, query.local, query.key, query.protocol, links[device])
        match = tables.lookup(asked)
        expected = match.tunnel.name if match else None
        if seen != (asked.remote, asked.local, asked.key, asked.protocol, asked.link):
            wrong.append(f"sent {asked}, seen {decision}")
        elif expected != decision.tunnel_name:
            wrong.append(
                f"{asked} on {device}: the kernel {decision.tunnel_name}, the model {match}; "
                f"packet {packet.hex()}"
            )
    return [f"GRETRACE_SEED={seed}", *lines, *wrong] if wrong else []


def test_the_model_equals_the_kernel_on_random_tunnels_and_packets():
    only = os.environ.get("GRETRACE_SEED")
    seeds = [int(only)] if only else range(TABLES)
    assert only or TABLES * PACKETS >= 20_000
    with lab() as (a, b):
        senders = (a.sender("va"), a.sender("vc"))
        wanted = Wanted(netns=b.namespace.inode)
        with closing(open_lookups(wanted.to_record(), 16384, 0, ENGINE)) as lookups:
            assert lookups.watches_ipv6
            for seed in seeds:
                wrong = compare(seed, senders, b, lookups)
                assert not wrong, "\n".join(wrong)
            met = sum(1 for _, stats in lookups.entries() if stats)
    # Not one silence after the other: hundreds of tuples met hundreds of tunnels.
    assert only or met > 1000
