# SPDX-License-Identifier: GPL-2.0-only
"""The table of kinds when strangers fill it: counts stay exact, and faults stay visible."""

import os
import random
import re
import time
from collections import Counter
from contextlib import ExitStack, closing, contextmanager

import pytest

from gretrace.engine import open_drops
from gretrace.engine.decode import parse_place
from gretrace.engine.drops import Drops, room_in
from gretrace.engine.grace import Grace
from gretrace.engine.wanted import Wanted
from tests.bpf.counted import seen_of
from tests.bpf.native import watching
from tests.children import forked
from tests.frames import gre_packet
from tests.lab.hosts import A, B, pair

if os.geteuid() != 0:
    pytest.skip("loading BPF programs needs root", allow_module_level=True)

CAPACITY = 512
KEYS = 3000


@pytest.fixture(params=["core", "bcc"])
def counting(request):
    @contextmanager
    def opened(host, capacity=CAPACITY):
        record = Wanted(netns=host.namespace.inode).to_record()
        with closing(open_drops(record, capacity, request.param)) as table:
            yield table

    return opened


def keys_of(drops):
    return Counter({drop.packet.gre.key: drop.count for drop in drops})


@contextmanager
def senders(host, device, processors, rounds, keys):
    """Children that send every key `rounds` times, each on a processor of its own."""
    packets = [gre_packet(A, B, key=key) for key in range(keys)]

    def work(processor):
        os.sched_setaffinity(0, {processor})
        send = host.sender(device)
        for _ in range(rounds):
            for packet in packets:
                send(packet)

    with ExitStack() as stack:
        yield [stack.enter_context(forked(work, processor)) for processor in processors]


def test_counts_are_exact_while_kinds_are_taken_out_on_two_processors(counting):
    """Every look takes all kinds out, while both processors count in the same ones."""
    rounds, keys = 3000, 24
    processors = sorted(os.sched_getaffinity(0))[:2]
    with pair() as (a, b), counting(b, capacity=64) as table:
        assert isinstance(table, Drops)
        table._crowded = 0
        seen = seen_of(table)
        with senders(a, "va", processors, rounds, keys) as children:
            while any(os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
                      for child in children):  # fmt: skip
                seen.look()
        each = rounds * len(processors)
        assert keys_of(seen.settled(each * keys)) == dict.fromkeys(range(keys), each)
        assert table._generation > 2
        assert not table.lost().overflow
        assert not table.lost().missed


def test_a_fault_that_comes_after_a_scan_is_seen(counting):
    """The scan has more kinds than fit, of the very place and reason that the fault has."""
    with pair() as (a, b), counting(b) as table:
        send = a.sender("va")
        for key in range(1000, 1000 + 4 * CAPACITY):
            send(gre_packet(A, B, key=key))
        seen = seen_of(table)
        seen.settled(4 * CAPACITY)
        assert table.lost().overflow
        a.send("va", gre_packet(A, B, key=7), times=3)
        assert keys_of(seen.settled(4 * CAPACITY + 3))[7] == 3


def test_a_scan_leaves_room_for_other_causes(counting):
    """It has filled the table, and nobody has looked since."""
    with pair() as (a, b), counting(b) as table:
        send = a.sender("va")
        for key in range(2 * CAPACITY):
            send(gre_packet(A, B, key=key))
        deadline = time.monotonic() + 20
        while not table.lost().overflow:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # Dead elsewhere: IPv4 itself refuses the length.
        a.send("va", gre_packet(A, B, key=7)[:-1], times=2)
        seen = seen_of(table).settled(2 * CAPACITY + 2)
        (other,) = [drop for drop in seen if drop.packet.length == len(gre_packet(A, B, key=7)) - 1]
        assert other.count == 2
        room = room_in(CAPACITY)
        assert len(seen) == room.own + room.shared + 1
        (unkept,) = table.lost().unkept
        assert parse_place(unkept.place, 0) != other.place
        assert unkept.packets == 2 * CAPACITY - room.own - room.shared


def test_what_was_taken_out_has_room_again(counting):
    with pair() as (a, b), counting(b) as table:
        seen = seen_of(table)
        for number in range(8):
            first = number * CAPACITY // 2
            send = a.sender("va")
            for key in range(first, first + CAPACITY // 2):
                send(gre_packet(A, B, key=key))
            seen.settled(first + CAPACITY // 2)
        assert keys_of(seen.look()) == dict.fromkeys(range(4 * CAPACITY), 1)
        assert not table.lost().overflow


def test_a_fault_after_a_scan_is_reported_within_three_seconds():
    """Seventeen thousand random keys, then one packet of a real peer."""
    keys = random.Random(5).sample(range(1 << 32), 17_000)
    fault = keys.pop()
    with pair() as (a, b), watching("--netns", b.name) as session:
        send = a.sender("va")
        for key in keys:
            send(gre_packet(A, B, key=key))
        counts, quiet = Counter(), 0
        while quiet < 20:
            record = session.record(0.1)
            quiet = 0 if record else quiet + 1
            if record:
                counts[record["key"]] = record["count"]
        a.send("va", gre_packet(A, B, key=fault), times=2)
        began = time.monotonic()
        while counts[fault] < 2:
            record = session.record(3)
            assert record, "it stayed unseen"
            counts[record["key"]] = record["count"]
        assert time.monotonic() - began < 3
        said = session.end()
        unkept = re.findall(r"(\d+) (?:dropped packets were|in all)", said)
        assert counts.total() + (int(unkept[-1]) if unkept else 0) == len(keys) + 2


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor has no need to wait")
def test_the_wait_for_running_programs_is_one():
    """A write that did not wait for RCU would return in a microsecond."""
    with closing(Grace()) as grace:
        began = time.monotonic()
        for _ in range(5):
            grace.wait()
        assert (time.monotonic() - began) / 5 > 100e-6
    grace.close()


@pytest.mark.parametrize("capacity", [1, 2, 4, 8, 100, 16384, 1 << 24])
def test_room_is_given_away_only_once(capacity):
    room = room_in(capacity)
    assert room.own >= 1
    assert room.shared + room.own <= max(capacity, 2)
    assert capacity == 1 or room.shared < capacity
