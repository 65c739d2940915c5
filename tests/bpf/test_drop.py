# SPDX-License-Identifier: GPL-2.0-only
"""The drop program on the kernel that is running, whatever it has of GRE.

A host that has no handler for protocol 47 drops every packet of it, at full speed.
"""

import os
import select
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from gretrace.cli import run
from gretrace.engine import bcc, drop_reasons, engine_said, maps, open_drops, probes, said
from gretrace.engine.decode import parse_place
from gretrace.engine.probes import Tracepoint
from gretrace.engine.wanted import Wanted
from gretrace.errors import PrerequisiteError
from gretrace.host.namespaces import entered
from tests.bpf.counted import seen_of
from tests.frames import gre, gre_packet, ipv4, ipv6
from tests.lab.hosts import A, B, pair

if os.geteuid() != 0:
    pytest.skip("loading BPF programs needs root", allow_module_level=True)


@pytest.fixture(params=["core", "bcc"])
def counting(request):
    """What opens a table of drops, by each engine."""

    @contextmanager
    def opened(host, capacity=1024, **wanted):
        record = Wanted(netns=host.namespace.inode, **wanted).to_record()
        with closing(open_drops(record, capacity, request.param)) as table:
            yield table

    return opened


def drops(table):
    return seen_of(table).look()


def settled(table, count):
    return seen_of(table).settled(count)


def test_every_field_of_the_outer_headers_is_read(counting):
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


def test_a_long_packet_is_sampled_and_measured(counting):
    packet = gre_packet(A, B, bytes(range(256)) * 5)
    with pair() as (a, b), counting(b) as table:
        a.send("va", packet)
        (drop,) = settled(table, 1)
        assert drop.packet.length == len(packet)
        assert drop.packet.inner is None


def test_half_a_million_drops_are_counted_exactly(counting):
    with pair() as (a, b), counting(b) as table:
        a.send("va", gre_packet(A, B, key=1), times=500_000)
        (drop,) = settled(table, 500_000)
        assert drop.count == 500_000
        assert not table.lost().missed


def test_tuples_are_kept_apart_and_the_rest_is_counted(counting):
    with pair() as (a, b), counting(b, capacity=8) as table:
        for key in range(20):
            a.send("va", gre_packet(A, B, key=key), times=2)
        deadline = time.monotonic() + 20
        while table.lost().overflow < 24:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        kept = settled(table, 40)
        # Two of eight are left to causes that had no drop yet, one of them to this.
        assert len(kept) == 7
        (unkept,) = table.lost().unkept
        assert unkept.packets == 40 - sum(drop.count for drop in kept) == 26
        assert parse_place(unkept.place, 0) == kept[0].place
        assert drop_reasons()[unkept.reason] == kept[0].reason


PADDING, ATOMIC = bytes([0, 1, 4, 0, 0, 0, 0]), bytes(6) + b"\x07"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(0, PADDING)],
        [(60, PADDING)],
        [(44, ATOMIC)],
        [(0, PADDING), (60, PADDING), (44, ATOMIC)],
    ],
    ids=len,
)
def test_gre_is_found_behind_headers_of_ipv6(counting, headers):
    payload, kinds = gre(b"x" * 20, key=7), [kind for kind, _ in headers] + [47]
    for (_, body), following in zip(reversed(headers), reversed(kinds[1:]), strict=True):
        payload = bytes([following]) + body + payload
    with pair() as (a, b), counting(b) as table:
        b.sysctl("net.ipv6.conf.vb.disable_ipv6=0")
        b.ip("addr add fd00::1/64 dev vb nodad")
        a.send("va", ipv6("fd00::2", "fd00::1", kinds[0], payload), times=2)
        (drop,) = settled(table, 2)
        assert (drop.count, drop.packet.gre.key) == (2, 7)


def test_key_0_and_no_key_are_two_kinds(counting):
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
        ({"remote": ip_address(A), "local": ip_address(B)}, {None, 0, 5}),
        ({"remote": ip_address(B)}, set()),
    ],
)
def test_the_kernel_filters(counting, wanted, keys):
    with pair() as (a, b), counting(b, **wanted) as table, counting(b) as everything:
        for key in (None, 0, 5):
            a.send("va", gre_packet(A, B, key=key))
        settled(everything, 3)
        assert {drop.packet.gre.key for drop in drops(table)} == keys


def test_another_namespace_does_not_count(counting):
    with pair() as (a, b), counting(a) as of_a, counting(b) as of_b:
        a.send("va", gre_packet(A, B), times=2)
        assert sum(drop.count for drop in settled(of_b, 2)) == 2
        assert drops(of_a) == []


def test_other_protocols_do_not_count(counting):
    with pair() as (a, b), counting(b) as table:
        a.send("va", ipv4(A, B, 253, bytes(40)), times=3)
        a.send("va", gre_packet(A, B))
        (drop,) = settled(table, 1)
        assert drop.packet.protocol == 47


def in_udp(payload, port=5555):
    length = 8 + len(payload)
    return b"\x10\xe1" + port.to_bytes(2, "big") + length.to_bytes(2, "big") + bytes(2) + payload


def test_gre_in_udp_that_nobody_takes_is_counted_and_no_other_udp(counting):
    """By its bytes alone: FOU has GRE at once, GUE behind a header with its own length."""
    fou, gue = gre(b"x" * 20, key=7), bytes([1, 47, 0, 0]) + bytes(4) + gre(b"x" * 20, key=8)
    others = (
        b"", b"\0\0", bytes([0, 4, 0, 0]) + fou, bytes([0x40, 47, 0, 0]) + fou,
        bytes([0x1F, 47, 0, 0]) + fou, gre(b"x" * 20, protocol=0x0806), b"\0\x01\x08\0" + fou,
    )  # fmt: skip
    with pair() as (a, b), counting(b) as table:
        for payload in (*others, fou, fou, gue):
            a.send("va", ipv4(A, B, 17, in_udp(payload)))
        told = sorted(
            (drop.packet.gre.key, drop.count, drop.packet.udp_port, drop.packet.udp_type)
            for drop in settled(table, 3)
        )
        assert told == [(7, 2, 5555, "fou"), (8, 1, 5555, "gue")]


def test_gre_in_udp_that_is_sent_is_counted(counting):
    """To a neighbour that does not answer, where packets wait in vain."""
    with pair() as (_, b), counting(b) as table:
        b.sysctl("net.ipv4.neigh.vb.retrans_time_ms=50", "net.ipv4.neigh.vb.mcast_solicit=1")
        with entered(b.namespace), socket.socket(type=socket.SOCK_DGRAM) as sending:
            for payload in (gre(b"x" * 20, key=7), b"of no tunnel"):
                sending.sendto(payload, ("20.1.1.99", 5555))
        (drop,) = settled(table, 1)
        assert (drop.packet.gre.key, drop.packet.udp_port, drop.is_sent) == (7, 5555, True)


def test_ip_options_and_every_truncation(counting):
    whole = gre(b"", key=7, sequence=1, checksum=True)
    packets = [ipv4(A, B, 47, whole[:size]) for size in range(len(whole) + 1)]
    with_options = ipv4(A, B, 47, gre(b"", key=8), options=b"\x01" * 40)
    with pair() as (a, b), counting(b) as table:
        for packet in (*packets, with_options):
            a.send("va", packet)
        seen = settled(table, len(packets) + 1)
        (longest,) = [drop for drop in seen if drop.packet.gre and drop.packet.gre.key == 8]
        assert longest.packet.length == len(with_options)


def test_random_packets_do_no_harm(counting):
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
        open_drops(Wanted().to_record(), 16, "core")


def refuse(monkeypatch, what):
    """Let the kernel refuse the program, as if it knew no such tracepoint."""
    monkeypatch.setattr(probes, "DROPS", replace(probes.DROPS, programs=what))


def test_a_kernel_that_refuses_is_one_line_and_leaves_nothing(monkeypatch):
    refuse(monkeypatch, {"no_such_program": Tracepoint("kfree_skb")})
    with pytest.raises(PrerequisiteError, match="does not take the drop probe") as refused:
        open_drops(Wanted().to_record(), 16, "core")
    assert "\n" not in str(refused.value)


def test_what_bcc_cannot_attach_is_one_line_and_leaves_nothing(monkeypatch, capfd):
    refuse(monkeypatch, {"count_drop": Tracepoint("no_such_tracepoint")})
    with pytest.raises(PrerequisiteError, match="does not take the drop probe of bcc") as refused:
        open_drops(Wanted().to_record(), 16, "bcc")
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_what_bcc_cannot_compile_is_one_line_and_kept_for_who_asks(monkeypatch, capfd, tmp_path):
    (tmp_path / "drop.c").write_text("int count_drop(void *ctx) { return no_such_thing; }")
    (tmp_path / "include").symlink_to(bcc.SOURCES / "include")
    monkeypatch.setattr(bcc, "SOURCES", tmp_path)
    with pytest.raises(PrerequisiteError, match="cannot compile the drop probe"):
        open_drops(Wanted().to_record(), 16, "bcc")
    assert capfd.readouterr() == ("", "")
    assert any("no_such_thing" in line for line in said())


@pytest.mark.parametrize("old", [False, True])
def test_a_new_kind_wakes_the_reader_also_where_the_kernel_is_old(monkeypatch, old):
    if old:  # no ring buffers, and none of the younger helpers
        monkeypatch.setattr(bcc, "has_rings", lambda: False)
        monkeypatch.setattr(bcc, "_probe_helper", lambda *_: 0)
    with pair() as (a, b):
        record = Wanted(netns=b.namespace.inode).to_record()
        with closing(open_drops(record, 16, "bcc")) as table:
            for key in range(3):
                assert select.select([table], [], [], 0) == ([], [], [])
                a.send("va", gre_packet(A, B, key=key))
                assert select.select([table], [], [], 10) == ([table], [], [])
                assert len(drops(table)) == key + 1


def no_btf(monkeypatch):
    monkeypatch.setattr("gretrace.engine.core.VMLINUX_BTF", Path("/nowhere"))
    return "this kernel has no BTF"


def no_trampolines(monkeypatch):
    def refuse(*_):
        raise OSError(524, "Unknown error 524")

    monkeypatch.setattr("gretrace.engine.objects.BpfObject.attach", refuse)
    return "this kernel does not take the drop probe: Unknown error 524"


@pytest.mark.parametrize("lack", [no_btf, no_trampolines])
def test_auto_takes_bcc_where_core_cannot(monkeypatch, lack):
    why = lack(monkeypatch)
    with pair() as (a, b):
        record = Wanted(netns=b.namespace.inode).to_record()
        with closing(open_drops(record, 16)) as table:
            a.send("va", gre_packet(A, B, key=3))
            (drop,) = settled(table, 1)
    assert drop.packet.gre.key == 3
    assert engine_said().startswith(f"engine bcc: {why}")


def test_without_btf_and_without_bcc_both_are_said(monkeypatch, tmp_path):
    monkeypatch.setattr("gretrace.engine.core.VMLINUX_BTF", tmp_path / "none")
    monkeypatch.setitem(sys.modules, "bcc", None)
    with pytest.raises(PrerequisiteError, match=r"no BTF .*and bcc is not installed .*bpfcc"):
        open_drops(Wanted().to_record(), 16)


@pytest.mark.parametrize("engine", ["auto", "core", "bcc"])
def test_a_table_that_does_not_fit_is_told_apart(engine):
    with pytest.raises(
        PrerequisiteError, match="does not fit into memory; have room for fewer kinds"
    ):
        open_drops(Wanted().to_record(), 2_000_000_000, engine)


def test_what_bcc_refuses_is_there_for_who_asks(monkeypatch):
    refuse(monkeypatch, {"no_such_program": Tracepoint("kfree_skb")})
    with pytest.raises(PrerequisiteError, match="does not take"):
        open_drops(Wanted().to_record(), 16, "bcc")
    assert any("Unknown program" in line for line in said())


def test_a_fault_of_ours_is_not_taken_for_one_of_the_kernel(monkeypatch):
    refuse(monkeypatch, {"count_drop": Tracepoint(None)})
    with pytest.raises(AttributeError):
        open_drops(Wanted().to_record(), 16, "bcc")


def test_sources_that_were_not_built_are_a_missing_prerequisite(monkeypatch, tmp_path):
    monkeypatch.setattr(bcc, "SOURCES", tmp_path)
    with pytest.raises(PrerequisiteError, match=r"drop\.c was not built"):
        open_drops(Wanted().to_record(), 16, "bcc")


def test_closed_streams_are_no_traceback():
    command = f"{Path(sys.executable).with_name('gretrace')} explain-drop --engine bcc --duration 0"
    done = subprocess.run(["sh", "-c", f"{command} >&-"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("status", [-22, -95, -524])
def test_a_kernel_without_batches_is_read_one_by_one(monkeypatch, status):
    with pair() as (a, b):
        record = Wanted(netns=b.namespace.inode).to_record()
        with closing(open_drops(record, 16)) as table:
            for key in range(3):
                a.send("va", gre_packet(A, B, key=key))
            monkeypatch.setattr(maps, "_lookup_batch", lambda *_: status)
            settled(table, 3)
            assert {drop.packet.gre.key for drop in drops(table)} == {0, 1, 2}


def test_a_missing_bcc_is_one_line_and_exit_code_4(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "bcc", None)
    assert run(["explain-drop", "--engine", "bcc"]) == 4
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("gretrace: bcc is not installed for ")
    assert "Traceback" not in err


def descriptors():
    """What this process holds of BPF."""
    held = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the directory itself
            held.append(str(descriptor.readlink()))
    return sorted(what for what in held if "bpf" in what)


def test_nothing_stays_behind(counting):
    before = descriptors()
    with pair() as (_, b), counting(b):
        assert len(descriptors()) > len(before)
    assert descriptors() == before


def test_a_table_read_one_by_one_is_the_table(counting):
    with pair() as (a, b), counting(b, capacity=4096) as table:
        for key in range(1000):
            a.send("va", gre_packet(A, B, key=key))
        settled(table, 1000)
        reader = table._drops
        assert sorted(reader.one_by_one()) == sorted(reader.items())
