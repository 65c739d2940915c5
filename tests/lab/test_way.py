# SPDX-License-Identifier: GPL-2.0-only
"""The model's way is the kernel's: random packets, whole and damaged, and where each ends.

GRETRACE_SEED=N replays the one table whose disagreement was printed.
"""

import os
import random
from collections import Counter, defaultdict
from contextlib import closing

from gretrace.engine import open_drops
from gretrace.engine.wanted import Wanted
from gretrace.host.tunnels import TunnelTable
from gretrace.kernel.receive import WAYS
from gretrace.kernel.receiver import Ended, Receiver
from gretrace.kernel.surroundings import Nowhere
from gretrace.model import Route
from gretrace.wire.packet import parse_packet
from tests.bpf.counted import Seen
from tests.frames import gre, ipv4, ipv6, udp
from tests.lab.hosts import run
from tests.lab.session import ENGINE
from tests.lab.test_differential import (
    DEVICES,
    ERSPAN,
    ERSPAN2,
    FALLBACKS,
    GROUP,
    GROUPS,
    OURS,
    TEB,
    THEIRS,
    WCCP,
    brought_up,
    lab,
    random_tunnel,
)

TABLES, PACKETS, TUNNELS_AT_MOST = 56, 96, 14
COUNTERS = (
    *("rx_packets", "rx_errors", "rx_length_errors"),
    *("rx_crc_errors", "rx_frame_errors", "rx_fifo_errors"),
)
INSIDE = udp("10.10.10.2", "10.10.10.1")
INSIDE6 = ipv6("fd10::2", "fd10::1", 59, bytes(8))
FRAME, FRAME6 = bytes(12) + b"\x08\x00" + INSIDE, bytes(12) + b"\x86\xdd" + INSIDE6
TAGGED = bytes(12) + b"\x81\x00\x00\x05\x08\x00" + INSIDE
ECT = udp("10.10.10.2", "10.10.10.1", tos=2)


class Plain(Nowhere):
    """A host that none of the packets comes from, and that has all of GRE."""

    def route(self, _remote, _source=None, _device=None):
        return Route(device=1)

    def module_state(self, _module):
        return "built in"


def random_line(rng, name):
    """A tunnel that may want checksums or numbers."""
    line = random_tunnel(rng, name)
    if "erspan" in line or line.endswith("external"):
        return line
    return line + rng.choice(("", "", " icsum", " iseq", " icsum iseq"))


def make_table(rng, host):
    """Make random tunnels; returns how, to be printed."""
    lines = [f"link del group {GROUP}"]
    for number in range(rng.randrange(2, TUNNELS_AT_MOST)):
        line = random_line(rng, f"t{number}")
        lines.append(brought_up(line) if rng.random() < 0.9 else line)
    lines += [
        f"link set {name} {'up' if rng.random() < 0.2 else 'down'}"
        for version in (4, 6)
        for name in FALLBACKS[version]
    ]
    # Some are refused: tunnels that are alike, or too few parameters.
    host.try_ip(*lines)
    return lines


def session(rng, protocol):
    """ERSPAN's header: its version, which may not be the protocol's, and session."""
    version = rng.choice((1, 2, 0, 3)) if rng.random() < 0.2 else 1 + (protocol == ERSPAN2)
    header = (version << 28 | rng.choice((0, 1, 2, 129))).to_bytes(4, "big")
    return header + bytes({1: 4, 2: 8}.get(version, 0))


def random_packet(rng):
    """GRE with fields, payload and damage as they come."""
    version = rng.choice((4, 4, 6))
    protocol = rng.choice((0x0800, 0x0800, 0x86DD, TEB, TEB, ERSPAN, ERSPAN2, WCCP, 0, 0x8847))
    payload = rng.choice((INSIDE, INSIDE6, ECT, FRAME, FRAME6))
    if protocol in (TEB, ERSPAN, ERSPAN2):
        payload = rng.choice((FRAME, FRAME, FRAME6, INSIDE))
    if protocol == WCCP:
        payload = rng.choice((INSIDE, bytes(4) + INSIDE, payload))
    numbered = {"sequence": rng.choice((None, 1, 5, 9, 1 << 31 | 6))}
    if protocol in (ERSPAN, ERSPAN2) and rng.random() < 0.8:
        payload, numbered = session(rng, protocol) + payload, {"sequence": rng.choice((1, 5, 9))}
    tos = rng.choice((0, 0, 1, 3, 3))
    if protocol == TEB and tos != 3 and rng.random() < 0.2:
        payload = TAGGED
    if rng.random() < 0.3:
        payload = payload[: rng.randrange(len(payload) + 1)]
    flags = rng.choice((0x08, 0x01, 0x02, 0x04, 0x4000, 0x0100, 0x0800)) * (rng.random() < 0.12)
    key = rng.choice((None, None, 0, 1, 2, 129))
    checksum = rng.random() < 0.3
    header = gre(payload, protocol=protocol, key=key, checksum=checksum, flags=flags, **numbered)
    if rng.random() < 0.08:
        header = header[: rng.randrange(17)]
    elif checksum and rng.random() < 0.2:
        header = header[:-1] + bytes([header[-1] ^ 1])
    remote = rng.choice(THEIRS[version])
    local = rng.choice((*OURS[version], *OURS[version], GROUPS[version]))
    if version == 4:
        return ipv4(remote, local, 47, header, tos=tos)
    packet = bytearray(ipv6(remote, local, 47, header))
    packet[0:2] = (0x6000 | tos << 4).to_bytes(2, "big")
    return bytes(packet)


def look(drop):
    """What tells a drop of one packet from that of another."""
    packet = drop.packet
    header = 0, 0, 0
    if packet and packet.gre and not drop.on_tunnel:
        # The kernel's count is by values, 0 where there is none, and its sample is of the first
        # packet that was so counted.
        header = packet.gre.flags, packet.gre.protocol, packet.gre.key or 0
    ends = (packet.remote, packet.local) if packet else None
    return drop.ifindex, drop.on_tunnel, drop.is_pulled, ends, header


class Freed:
    """What the kernel frees on the way of received GRE, since one was last asked."""

    def __init__(self, drops):
        self._seen, self._before = Seen(drops), Counter()

    def take(self):
        """Return the drops since the last time, each with its count."""
        found = []
        # Kinds are added at the end, and none is taken away.
        for number, drop in enumerate(self._seen.look()):
            fresh = drop.count - self._before[number]
            self._before[number] = drop.count
            # What can be on the way takes longest to tell.
            if fresh and (WAYS[4].can_free(drop) or WAYS[6].can_free(drop)):
                found.append([drop, fresh])
        return found


def counted(table, tunnels):
    return {
        t.name: [(table.counters(t.ifindex) or {}).get(name, 0) for name in COUNTERS]
        for t in tunnels
    }


def expect(outcome, expected):
    """Add to the counters of the tunnel what the model says of a packet."""
    if isinstance(outcome, Ended):
        for name in outcome.step.counts:
            expected[outcome.passage.tunnel.name][COUNTERS.index(name)] += 1
    else:
        expected[outcome.name][0] += 1


def compare(seed, senders, b, freed):
    """Send random packets to random tunnels; returns what model and kernel disagree on."""
    rng = random.Random(seed)
    lines = make_table(rng, b)
    freed.take()
    wrong = []
    with closing(TunnelTable(b.namespace)) as table:
        tables = table.tables
        links = {name: table.link_index(name) for name in DEVICES}
        expected = counted(table, tables.tunnels)
        host = Receiver(tables, Plain())
        ended = []
        for _ in range(PACKETS):
            data, wire = random_packet(rng), rng.randrange(2)
            senders[wire](data)
            outcome = host.receive(parse_packet(data), links[DEVICES[wire]])
            if outcome is None:
                wrong.append(f"the model cannot tell of {data.hex()}")
                continue
            expect(outcome, expected)
            if isinstance(outcome, Ended):
                ended.append((outcome, data))
        seen = freed.take()
        wrong += [
            f"{name}: {dict(zip(COUNTERS, found, strict=True))}, the model {expected[name]}"
            for name, found in counted(table, tables.tunnels).items()
            if found != expected[name]
        ]
    alike = defaultdict(list)
    for entry in seen:
        alike[look(entry[0])].append(entry)
    for outcome, data in ended:
        told, family = outcome.drop(b.namespace.inode, 0), outcome.passage.family
        for entry in alike[look(told)]:
            drop, left = entry
            if left and outcome.free.matches(drop, family):
                entry[1] -= 1
                break
        else:
            wrong.append(f"the model ends at {outcome.step} what the kernel does not: {data.hex()}")
    wrong += [
        f"only the kernel frees {left} in {drop.place}: {drop}" for drop, left in seen if left
    ]
    return [f"GRETRACE_SEED={seed}", *lines, *wrong] if wrong else []


def test_every_packet_ends_where_the_model_says():
    only = os.environ.get("GRETRACE_SEED")
    seeds = [int(only)] if only else range(TABLES)
    assert only or TABLES * PACKETS >= 5000
    run("modprobe", "ip6_gre")
    with lab() as (a, b):
        first = a.sender("va")
        second = a.sender("vc")
        # What an odd packet inside a tunnel does to its host is of no interest here.
        b.sysctl("net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
        wanted = Wanted(netns=b.namespace.inode)
        with closing(open_drops(wanted.to_record(), 1 << 16, ENGINE)) as drops:
            freed = Freed(drops)
            for seed in seeds:
                wrong = compare(seed, (first, second), b, freed)
                assert not wrong, "\n".join(wrong[:60])
