"""The drop program on the kernel that is running, whatever it has of GRE.

A host that has no handler for protocol 47 drops every packet of it, at full speed.
"""

import os
import time
from contextlib import closing, contextmanager

import pytest

from gretrace.decode import decode_drop
from gretrace.engine import drop_reasons, open_drops
from gretrace.errors import PrerequisiteError
from gretrace.wanted import Wanted
from tests.frames import gre, gre_packet, ipv4
from tests.lab.hosts import A, B, pair

if os.geteuid() != 0:
    pytest.skip("loading BPF programs needs root", allow_module_level=True)


@contextmanager
def counting(host, capacity=1024, **wanted):
    record = Wanted(netns=host.namespace.inode, **wanted).to_record()
    with closing(open_drops(record, capacity)) as table:
        yield table


def drops(table):
    reasons = drop_reasons()
    return [decode_drop(key, stats, reasons, 0) for key, stats in table.entries()]


def settled(table, count):
    """The drops once `count` packets are in; a veth hands packets over a moment later."""
    deadline = time.monotonic() + 20
    while sum(drop.count for drop in drops(table)) + table.lost().overflow < count:
        assert time.monotonic() < deadline, drops(table)
        time.sleep(0.01)
    return drops(table)


def test_every_field_of_the_outer_headers_is_read():
    packet = gre_packet(A, B, key=0xC0A80001, sequence=3, checksum=True)
    with pair() as (a, b), counting(b) as table:
        a.send("va", packet, times=3)
        (drop,) = settled(table, 3)
        assert drop.count == 3
        assert drop.netns == b.namespace.inode
        assert drop.reason
        assert drop.place.function.isidentifier()
        assert not drop.on_tunnel
        assert (str(drop.packet.remote), str(drop.packet.local)) == (A, B)
        assert (drop.packet.gre.key, drop.packet.gre.sequence) == (0xC0A80001, 3)
        assert drop.packet.length == len(packet)
        assert drop.first_ns <= drop.last_ns


def test_a_long_packet_is_sampled_and_measured():
    packet = gre_packet(A, B, bytes(range(256)) * 5)
    with pair() as (a, b), counting(b) as table:
        a.send("va", packet)
        (drop,) = settled(table, 1)
        assert drop.packet.length == len(packet)
        assert drop.packet.inner is None


def test_half_a_million_drops_are_counted_exactly():
    with pair() as (a, b), counting(b) as table:
        a.send("va", gre_packet(A, B, key=1), times=500_000)
        (drop,) = settled(table, 500_000)
        assert drop.count == 500_000
        assert not table.lost().missed


def test_tuples_are_kept_apart_and_the_rest_is_counted():
    with pair() as (a, b), counting(b, capacity=8) as table:
        for key in range(20):
            a.send("va", gre_packet(A, B, key=key), times=2)
        kept = settled(table, 40)
        assert len(kept) == 8
        assert sum(drop.count for drop in kept) + table.lost().overflow == 40


def test_key_0_and_no_key_are_two_kinds():
    with pair() as (a, b), counting(b) as table:
        a.send("va", gre_packet(A, B, key=0))
        a.send("va", gre_packet(A, B))
        assert {drop.packet.gre.key for drop in settled(table, 2)} == {0, None}


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        ({"key": 5}, {5}),
        ({"key": 0}, {0}),
        ({"no_key": True}, {None}),
        ({"ifindex": 1}, set()),
    ],
)
def test_the_kernel_filters(wanted, keys):
    with pair() as (a, b), counting(b, **wanted) as table, counting(b) as everything:
        for key in (None, 0, 5):
            a.send("va", gre_packet(A, B, key=key))
        settled(everything, 3)
        assert {drop.packet.gre.key for drop in drops(table)} == keys


def test_another_namespace_does_not_count():
    with pair() as (a, b), counting(a) as of_a, counting(b) as of_b:
        a.send("va", gre_packet(A, B), times=2)
        assert sum(drop.count for drop in settled(of_b, 2)) == 2
        assert drops(of_a) == []


def test_other_protocols_do_not_count():
    with pair() as (a, b), counting(b) as table:
        a.send("va", ipv4(A, B, 253, bytes(40)), times=3)
        a.send("va", gre_packet(A, B))
        (drop,) = settled(table, 1)
        assert drop.packet.protocol == 47


def test_ip_options_and_every_truncation():
    whole = gre(b"", key=7, sequence=1, checksum=True)
    packets = [ipv4(A, B, 47, whole[:size]) for size in range(len(whole) + 1)]
    with_options = ipv4(A, B, 47, gre(b"", key=8), options=b"\x01" * 40)
    with pair() as (a, b), counting(b) as table:
        for packet in (*packets, with_options):
            a.send("va", packet)
        seen = settled(table, len(packets) + 1)
        (longest,) = [drop for drop in seen if drop.packet.gre and drop.packet.gre.key == 8]
        assert longest.packet.length == len(with_options)


def test_random_packets_do_no_harm():
    """The verifier proves memory safety; this shows that the program and decoder agree."""
    with pair() as (a, b), counting(b, capacity=4096) as table:
        for size in range(120):
            a.send("va", ipv4(A, B, 47, os.urandom(size)))
        seen = settled(table, 120)
        for drop in seen:
            assert drop.packet.protocol == 47


def test_an_object_that_was_not_built_is_a_missing_prerequisite(monkeypatch, tmp_path):
    monkeypatch.setattr("gretrace.engine.core.OBJECTS", tmp_path)
    with pytest.raises(PrerequisiteError, match="was not built"):
        open_drops(Wanted().to_record(), 16)


def test_a_kernel_without_btf_is_a_missing_prerequisite(monkeypatch, tmp_path):
    monkeypatch.setattr("gretrace.engine.core.VMLINUX_BTF", tmp_path / "none")
    with pytest.raises(PrerequisiteError, match="no BTF"):
        open_drops(Wanted().to_record(), 16)


def test_a_kernel_that_refuses_is_one_line_and_leaves_nothing(monkeypatch):
    monkeypatch.setattr("gretrace.engine.core.CoreDrops.PROGRAM", "no_such_program")
    with pytest.raises(PrerequisiteError, match="does not take the drop probe") as refused:
        open_drops(Wanted().to_record(), 16)
    assert "\n" not in str(refused.value)
