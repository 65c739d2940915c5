# SPDX-License-Identifier: GPL-2.0-only
"""What a capture or a table of a stranger's making costs: bounded in memory, linear in time."""

import json
import random
import struct
import subprocess
import sys
import time
import tracemalloc
from itertools import pairwise

import pytest

from gretrace.capture import Frame, read_capture
from gretrace.engine.wanted import Wanted
from gretrace.explain import keepalives
from gretrace.explain.keepalives import Keepalive, Keepalives, is_answer, keepalive_inside
from gretrace.explain.kept import Kept
from gretrace.explain.reading import Reader, Scene
from gretrace.kernel.lookup import Tables
from gretrace.wire.packet import build_keepalive, internet_checksum, parse_packet
from tests.captures import RAW, Pcapng, pcap
from tests.frames import answer, gre_packet
from tests.unit.cases import A, B, drop, tunnel
from tests.unit.test_explain import FakeOutput

MEGABYTE = 1 << 20
# Runs gretrace and says, on stderr, the most that it had resident and the seconds that it took.
MEASURED = """
import re, sys, time
from gretrace.cli import run
code = run(sys.argv[1:])
# Not ru_maxrss, which begins with the size of the process that was forked.
most = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
print("used", most, time.process_time(), file=sys.stderr)
sys.exit(code)
"""


def measured(*arguments):
    """Exit code, what was said, megabytes and seconds of a command."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    *said, used = done.stderr.splitlines()
    return done.returncode, said, *map(float, used.split()[1:])


@pytest.fixture
def explained(tmp_path):
    """What it costs to explain a capture of these bytes, with one tunnel."""
    table = tmp_path / "tunnels.json"
    table.write_text(json.dumps({
        "name": "gre1", "ifindex": 5, "kind": "gre", "local": B, "remote": A, "ikey": 1, "okey": 1,
        "iflags": ["key"], "oflags": ["key"], "up": True, "link": None,
    }))  # fmt: skip

    def explain(data):
        capture = tmp_path / "capture"
        capture.write_bytes(data)
        command = ("explain-drop", "--read", str(capture), "--tunnels", str(table), "-o", "json")
        return measured(*command)

    return explain


def distinct_keys(count):
    head = len(pcap())
    records = (pcap((n * 1000, gre_packet(A, B, key=n + 2)))[head:] for n in range(count))
    return pcap() + b"".join(records)


def test_captures_of_distinct_keys_cost_time_but_not_memory(explained):
    """4.4 MB of them took 264 MB."""
    rows = [explained(distinct_keys(count)) for count in (10_000, 30_000)]
    assert [code for code, *_ in rows] == [3, 3]
    (_, _, few, quick), (_, said, many, slow) = rows
    assert many < few + 25, rows
    assert many < 110, rows
    assert slow < 3 * quick * 1.5 + 1, rows
    assert any("were of more kinds than are kept apart" in line for line in said)


def test_a_real_fault_is_not_lost_in_a_scan(monkeypatch):
    monkeypatch.setattr("gretrace.explain.replay.Kept", lambda: Kept(at_most=100))
    real = gre_packet(A, B, key=99)
    scan = [gre_packet(A, B, key=1000 + n) for n in range(1000)]
    for packets in ([real, real, *scan], [*scan, real], [*scan[:500], real, real, *scan[500:]]):
        reader = Reader(Scene(Tables([tunnel(key=1)])), Wanted())
        reader.read((Frame(n, p, len(p)) for n, p in enumerate(packets)), None)
        shown = []

        class Output(FakeOutput):
            def show(self, _identity, report, shown=shown):
                shown.append((report.tuple.key, report.count))

        assert reader.finish(Output())
        assert (99, packets.count(real)) in shown
        assert sum(count for _, count in shown) + reader.replayed.let_go == len(packets)


def test_what_is_let_go_of_is_counted():
    kept = Kept(at_most=10)
    for number in range(1000):
        kept.add(number % 7 if number < 500 else number, drop(), None)
    held = list(kept)
    assert len(held) <= 10
    assert sum(each.count for each, _ in held) + kept.let_go == 1000
    assert max(each.count for each, _ in held) > 70


def interfaces(count):
    """A section that declares very many interfaces."""
    block = Pcapng().interface(RAW, name=b"eth0").data[len(Pcapng().data) :]
    return Pcapng().data + block * count


def test_very_many_interfaces_are_no_capture(explained):
    """A million of them took 184 MB."""
    code, said, megabytes, seconds = explained(interfaces(200_000))
    assert code == 1
    assert "has more interfaces than can be" in said[-1]
    assert megabytes < 60
    assert seconds < 5


def test_a_block_of_nothing_but_options_is_read_in_no_time(tmp_path):
    many = struct.pack("<HH", 1, 0) * 3_000_000
    body = struct.pack("<HHI", RAW, 0, 0) + many
    block = struct.pack("<II", 1, len(body) + 12) + body + struct.pack("<I", len(body) + 12)
    capture = tmp_path / "capture"
    capture.write_bytes(Pcapng().data + block)
    begin = time.process_time()
    assert list(read_capture(str(capture))) == []
    assert time.process_time() - begin < 1


def keepalive(number, device):
    received = parse_packet(build_keepalive(device.local, device.remote, 0x2000, device.ikey))
    asked = received.local, received.remote
    return Keepalive(device, keepalive_inside(received), number, asked)


def answer_to(device):
    """The answer in the tunnel."""
    return parse_packet(gre_packet(B, A, answer(B, A), key=device.okey))


def seconds_for(count):
    """The time that so many keepalives of one peer take, to many tunnels, few of them answered."""
    devices = [tunnel(key=n, ifindex=n + 10) for n in range(50)]
    unmatched = answer_to(tunnel(key=99))
    asked = [keepalive(1, device) for device in devices]
    seen = Keepalives(is_answer)
    begin = time.process_time()
    for number in range(count):
        seen.note_received(asked[number % len(asked)])
        seen.note_sent(unmatched, 1)
    assert sum(alike.count for alike in seen.unanswered(10**12)) == count
    return time.process_time() - begin


def test_keepalives_that_nobody_answers_cost_the_same_each():
    few = min(seconds_for(3000) for _ in range(3))
    assert min(seconds_for(12_000) for _ in range(2)) < 4 * few * 2


def test_the_answers_are_those_of_the_oldest():
    """Against the plain way to do it: look at each that awaits."""
    dice = random.Random(3)
    devices = [tunnel(key=n, ifindex=n + 10) for n in range(3)]
    bare = parse_packet(answer(B, A))
    for _ in range(50):
        seen, awaiting, expected, now = Keepalives(is_answer), [], {}, 0
        for _ in range(200):
            now += dice.choice([0, 10**8, 10**9])
            late = [k for k in awaiting if now - k.time_ns >= keepalives.PATIENCE_NS]
            awaiting = [k for k in awaiting if k not in late]
            for each in late:
                expected[each.tunnel.ifindex] = expected.get(each.tunnel.ifindex, 0) + 1
            device = dice.choice(devices)
            match dice.randrange(3):
                case 0:
                    awaiting.append(keepalive(now, device))
                    seen.note_received(awaiting[-1])
                case 1:
                    seen.note_sent(bare, now)
                    awaiting = awaiting[1:]
                case 2:
                    seen.note_sent(answer_to(device), now)
                    of_key = [k for k in awaiting if k.tunnel is device]
                    if of_key:
                        awaiting.remove(of_key[0])
        for each in awaiting:
            expected[each.tunnel.ifindex] = expected.get(each.tunnel.ifindex, 0) + 1
        told = {a.keepalive.tunnel.ifindex: a.count for a in seen.unanswered(now + 10**12)}
        assert told == expected


def test_keepalives_of_very_many_peers_have_a_limit(monkeypatch):
    monkeypatch.setattr(keepalives, "AWAITING", 100)
    monkeypatch.setattr(keepalives, "PEERS", 50)
    seen = Keepalives(is_answer)
    peers = [tunnel(remote=f"20.1.{n >> 8}.{n & 255}", key=1, ifindex=n) for n in range(2000)]
    tracemalloc.start()
    for peer in peers:
        seen.note_received(keepalive(1, peer))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1 * MEGABYTE
    assert len(seen._queues) <= 200
    assert seen.unknown(10**12) == 2000


def test_stale_numbers_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(keepalives, "AWAITING", 100)
    first, second = tunnel(key=1, ifindex=1), tunnel(key=2, ifindex=2)
    seen = Keepalives(is_answer)
    seen.note_received(keepalive(1, first))
    for _ in range(5000):
        seen.note_received(keepalive(1, second))
        seen.note_sent(answer_to(second), 1)
    assert max(len(queue) for queue in seen._queues.values()) <= 201
    assert [a.count for a in seen.unanswered(10**12)] == [1]


def test_the_checksum_is_that_of_the_rfc_and_quick():
    dice = random.Random(5)

    def by_the_book(data):
        padded = data + b"\0" * (len(data) % 2)
        total = sum(high << 8 | low for high, low in zip(padded[::2], padded[1::2], strict=True))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        return ~total & 0xFFFF

    samples = [b"", b"\0", b"\0\0", b"\xff\xff", b"\xff\xff\0\1", b"\xff"]
    samples += [dice.randbytes(dice.randrange(100)) for _ in range(500)]
    for data in samples:
        assert internet_checksum(data) == by_the_book(data), data
    begin = time.process_time()
    internet_checksum(b"\x12" * (16 << 20))
    assert time.process_time() - begin < 0.5


def test_a_table_of_tunnels_costs_in_proportion(tmp_path):
    path = tmp_path / "tunnels.json"
    seconds = []
    for count in (2000, 8000):
        path.write_text("".join(
            json.dumps({
                "name": f"t{n}", "ifindex": n + 1, "kind": "gre", "local": B, "up": True,
                "remote": f"20.{n >> 8}.{n & 255}.1", "ikey": n, "okey": n, "iflags": [],
                "oflags": [], "link": f"l{n}",
            }) + "\n"
            for n in range(count)
        ))  # fmt: skip
        code, _, _, used = measured("lookup", A, B, "--tunnels", str(path), "-o", "json")
        assert code == 0
        seconds.append(used)
    assert all(more < 4 * less * 1.5 for less, more in pairwise(seconds)), seconds
