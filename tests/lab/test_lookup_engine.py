# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's tunnel lookups as the engine sees them: one decision for each packet, no more."""

import select
import struct
import time
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import replace
from ipaddress import ip_address

import pytest

from gretrace.engine import bcc, open_lookups
from gretrace.engine.contract import LOOKUP_WINDOW_NS
from gretrace.engine.decode import decode_decision, decode_lookup_entry
from gretrace.engine.wanted import Wanted
from gretrace.errors import PrerequisiteError
from tests.frames import gre, gre_packet, ipv4, ipv6, udp
from tests.lab.hosts import INNER_B, A, B, hosts, pair, run, tunnel, tunnel_a, tunnel_b, wire
from tests.lab.session import ENGINE

A6, B6 = "fd00::2", "fd00::1"
IPV4, IPV6, TEB, ERSPAN, ERSPAN2 = 0x0800, 0x86DD, 0x6558, 0x88BE, 0x22EB
FRAME = b"\xff" * 6 + b"\x02\0\0\0\0\1" + b"\x08\x00" + udp("10.10.10.2", INNER_B)


@pytest.fixture(scope="module", autouse=True)
def modules(kernel):  # noqa: ARG001 - it loads ip_gre
    run("modprobe", "ipip")
    yield
    Shared.close()


class Shared:
    """One table for all tests that ask for nothing particular: to open one takes longest."""

    table = None

    @classmethod
    def open(cls):
        if cls.table is None:
            cls.table = open_lookups(Wanted().to_record(), 8192, 0, ENGINE)
        return cls.table

    @classmethod
    def close(cls):
        table, cls.table = cls.table, None
        if table:
            table.close()


class View:
    """What the shared table has of one namespace, from now on."""

    def __init__(self, table, netns):
        self._table, self._netns = table, netns
        table.take()
        # A namespace may have the number of one that is gone.
        self._before = {
            bytes(key): self._decode(key, stats).count for key, stats in table.entries()
        }
        assert not table.lost().sentences()

    @property
    def watches_ipv6(self):
        return self._table.watches_ipv6

    @staticmethod
    def _decode(key, stats):
        return decode_lookup_entry(key, stats, 0)

    def counts(self):
        found = ((bytes(key), self._decode(key, stats)) for key, stats in self._table.entries())
        fresh = (
            replace(entry, count=entry.count - self._before.get(key, 0)) for key, entry in found
        )
        return [entry for entry in fresh if entry.netns == self._netns and entry.count]

    def take(self):
        return [e for e in self._table.take() if decode_decision(e, 0).netns == self._netns]

    def lost(self):
        return self._table.lost()


@contextmanager
def watching(host, *, capacity=1024, budget=0, own=False, **wanted):
    """Watch the lookups of a host: by a table of its own, or one with what others look at too."""
    if not own and not wanted and (capacity, budget) == (1024, 0):
        yield View(Shared.open(), host.namespace.inode)
        return
    record = Wanted(netns=host.namespace.inode, **wanted).to_record()
    with closing(open_lookups(record, capacity, budget, ENGINE)) as table:
        yield table


def counts(table):
    if isinstance(table, View):
        return table.counts()
    return [decode_lookup_entry(key, stats, 0) for key, stats in table.entries()]


def total(table):
    return sum(entry.count for entry in counts(table)) + table.lost().overflow


def settled(table, count):
    """The events once `count` packets were decided on; a veth hands them over a moment later."""
    deadline = time.monotonic() + 20
    while total(table) < count:
        assert time.monotonic() < deadline, counts(table)
        time.sleep(0.01)
    # One too many would come now.
    time.sleep(0.1)
    assert total(table) == count, counts(table)
    return [decode_decision(record, 0) for record in table.take()]


@contextmanager
def pair6():
    """Two routers on one wire of IPv6."""
    with hosts("a", "b") as (a, b):
        for host in (a, b):
            host.sysctl("net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0")
        wire(a, "va", f"{A6}/64 nodad", b, "vb", f"{B6}/64 nodad")
        for host in (a, b):
            host.sysctl("net.ipv6.conf.default.disable_ipv6=1")
        yield a, b


@pytest.mark.parametrize(
    ("attributes", "header", "key", "flags"),
    [
        ("", {}, None, ()),
        ("key 0", {"key": 0}, 0, ("key",)),
        ("key 3232235521", {"key": 0xC0A80001}, 0xC0A80001, ("key",)),
        ("csum", {"checksum": True}, None, ("csum",)),
        ("seq key 7", {"key": 7, "sequence": 1}, 7, ("key", "seq")),
        ("csum seq key 7", {"key": 7, "sequence": 1, "checksum": True}, 7, ("csum", "key", "seq")),
    ],
)
def test_a_match_is_one_decision_with_all_its_fields(attributes, header, key, flags):
    with pair() as (a, b), watching(b) as table:
        tunnel_b(b, attributes)
        before = time.monotonic_ns()
        a.send("va", gre_packet(A, B, **header))
        (seen,) = settled(table, 1)
        assert before < seen.time_ns < time.monotonic_ns()
        assert (seen.netns, seen.ifindex) == (b.namespace.inode, b.index("vb"))
        assert (seen.family, str(seen.remote), str(seen.local)) == (4, A, B)
        assert (seen.key, seen.flags, seen.protocol) == (key, flags, IPV4)
        assert (seen.tunnel_name, seen.tunnel_ifindex) == ("gre1", b.index("gre1"))
        assert seen.tunnel_netns == b.namespace.inode
        assert counts(table) == [seen]
        assert not table.lost().sentences()


def test_no_match_is_a_decision_without_a_tunnel():
    with pair() as (a, b), watching(b, own=True) as table:
        tunnel_b(b, "key 1")
        a.send("va", gre_packet(A, B, key=2), times=2)
        events = settled(table, 2)
        for seen in events:
            assert (seen.key, seen.flags) == (2, ("key",))
            assert (seen.tunnel_ifindex, seen.tunnel_name, seen.tunnel_netns) == (None, None, None)
        (entry,) = counts(table)
        assert (entry.count, entry.first_ns, entry.time_ns) == (
            2,
            events[0].time_ns,
            events[1].time_ns,
        )


def test_the_fallback_device_is_a_tunnel():
    with pair() as (a, b), watching(b) as table:
        b.ip("link set gre0 up")
        a.send("va", gre_packet(A, B))
        (seen,) = settled(table, 1)
        assert seen.tunnel_name == "gre0"


def test_a_tunnel_that_was_moved_says_where_it_is():
    with pair() as (a, b), hosts("c") as (c,), watching(b) as table:
        tunnel_b(b)
        b.ip(f"link set gre1 netns {c.name}")
        c.ip("link set gre1 up")
        a.send("va", gre_packet(A, B))
        (seen,) = settled(table, 1)
        assert seen.tunnel_name == "gre1"
        assert seen.netns == b.namespace.inode
        assert seen.tunnel_netns == c.namespace.inode


@pytest.mark.parametrize("kind", ["gretap", "gre", None])
def test_a_frame_is_one_decision_whichever_lookup_took_it(kind):
    with pair() as (a, b), watching(b) as table:
        if kind:
            tunnel_b(b, kind=kind)
        a.send("va", gre_packet(A, B, payload=FRAME, protocol=TEB), times=3)
        events = settled(table, 3)
        assert [seen.tunnel_name for seen in events] == ["gre1" if kind else None] * 3
        assert {seen.protocol for seen in events} == {TEB}


def erspan(source, destination, session, version=1):
    """Type II (version 1) or III, with the session id where the kernel looks for the key."""
    header = struct.pack("!HHI", version << 12, session, 0) + bytes(4 * (version == 2))
    protocol = ERSPAN if version == 1 else ERSPAN2
    return gre_packet(source, destination, header + FRAME, protocol=protocol, sequence=1)


@pytest.mark.parametrize("version", [1, 2])
def test_erspan_is_looked_up_by_its_session(version):
    with pair() as (a, b), watching(b, key=5) as of_five, watching(b) as table:
        tunnel_b(b, f"seq key 5 erspan_ver {version}", kind="erspan")
        a.send("va", erspan(A, B, 5, version))
        a.send("va", erspan(A, B, 6, version))
        right, wrong = settled(table, 2)
        assert (right.key, right.flags, right.tunnel_name) == (5, ("seq",), "gre1")
        assert (wrong.key, wrong.flags, wrong.tunnel_name) == (6, ("seq",), None)
        assert [seen.key for seen in settled(of_five, 1)] == [5]


def test_erspan_of_type_i_has_no_key():
    with pair() as (a, b), watching(b) as table:
        a.send("va", gre_packet(A, B, FRAME, protocol=ERSPAN))
        (seen,) = settled(table, 1)
        assert (seen.key, seen.flags, seen.protocol) == (None, (), ERSPAN)


@pytest.mark.parametrize(("kind", "protocol"), [("ip6gre", IPV4), ("ip6gretap", TEB)])
def test_ipv6(kind, protocol):
    payload = FRAME if protocol == TEB else udp("10.10.10.2", INNER_B)
    with pair6() as (a, b), watching(b) as table:
        assert table.watches_ipv6
        b.ip(
            f"link add gre1 type {kind} local {B6} remote {A6} key 9 hoplimit 255",
            "link set gre1 up",
        )
        for key in (9, 8, None):
            a.send("va", ipv6(A6, B6, 47, gre(payload, protocol=protocol, key=key)))
        events = settled(table, 3)
        assert [(e.key, e.flags, e.tunnel_name) for e in events] == [
            (9, ("key",), "gre1"),
            (8, ("key",), None),
            (None, (), None),
        ]
        for seen in events:
            assert (seen.family, str(seen.remote), str(seen.local)) == (6, A6, B6)
            assert (seen.protocol, seen.ifindex) == (protocol, b.index("vb"))
        assert events[0].tunnel_ifindex == b.index("gre1")
        assert events[0].tunnel_netns == b.namespace.inode


def test_ipv6_behind_extension_headers():
    options = bytes([47, 0, 1, 4, 0, 0, 0, 0])
    with pair6() as (a, b), watching(b) as table:
        packet = gre(udp("10.10.10.2", INNER_B), key=3)
        a.send("va", ipv6(A6, B6, 60, options + packet))
        (seen,) = settled(table, 1)
        assert (seen.key, seen.flags, seen.protocol) == (3, ("key",), IPV4)


def test_filters_know_ipv6():
    with (
        pair6() as (a, b),
        watching(b, remote=ip_address(A6)) as of_a,
        watching(b, remote=ip_address("fd00::3")) as of_nobody,
        watching(b) as table,
    ):
        a.send("va", ipv6(A6, B6, 47, gre(udp("10.10.10.2", INNER_B))))
        assert len(settled(table, 1)) == 1
        assert len(settled(of_a, 1)) == 1
        assert settled(of_nobody, 0) == []


def test_other_tunnels_that_are_looked_up_yield_nothing():
    """ipip and vti call the same function."""
    with pair() as (a, b), watching(b) as table:
        tunnel(b, f"local {B} remote {A}", kind="ipip", name="ipip1")
        a.send("va", gre_packet(A, B))
        a.send("va", ipv4(A, B, 4, udp("10.10.10.2", INNER_B)), times=5)
        a.send("va", ipv4("20.1.1.9", B, 4, udp("10.10.10.2", INNER_B)), times=5)
        (seen,) = settled(table, 1)
        assert seen.tunnel_name is None
        assert b.received("ipip1") == 5


def test_packets_that_the_parser_refuses_leave_nothing_behind():
    with pair() as (a, b), watching(b) as table:
        tunnel(b, f"local {B} remote {A}", kind="ipip", name="ipip1")
        broken = bytearray(gre_packet(A, B, checksum=True))
        broken[-1] ^= 1
        for packet in (bytes(broken), gre_packet(A, B, flags=0x4000), gre_packet(A, B, flags=1)):
            a.send("va", packet)
            a.send("va", ipv4(A, B, 4, udp("10.10.10.2", INNER_B)))
        assert settled(table, 0) == []


@pytest.mark.parametrize("code", [1, 2, 3])
def test_an_icmp_error_about_a_gre_packet_yields_nothing(code):
    with pair() as (a, b), watching(b) as table:
        tunnel_b(b, "key 1")
        for key in (1, 2, None):
            quoted = gre_packet(B, A, key=key)
            icmp = bytearray(bytes([3, code]) + bytes(6) + quoted)
            words = sum(struct.unpack(f"!{len(icmp) // 2}H", icmp))
            icmp[2:4] = struct.pack("!H", ~((words & 0xFFFF) + (words >> 16)) & 0xFFFF)
            a.send("va", ipv4(A, B, 1, bytes(icmp)))
        a.send("va", gre_packet(A, B, key=1))
        (seen,) = settled(table, 1)
        assert (seen.key, seen.tunnel_name) == (1, "gre1")


def test_the_peer_that_is_told_of_a_reject_decided_nothing():
    with pair() as (a, b), watching(a) as at_a, watching(b) as at_b:
        tunnel_a(a, "key 2")
        tunnel_b(b, "key 1")
        a.send_pings(INNER_B, count=2)
        assert {seen.key for seen in settled(at_b, 2)} == {2}
        assert settled(at_a, 0) == []


def test_another_namespace_does_not_count():
    with pair() as (a, b), watching(a) as of_a, watching(b) as of_b:
        a.send("va", gre_packet(A, B), times=2)
        assert len(settled(of_b, 2)) == 2
        assert settled(of_a, 0) == []


def test_without_a_filter_all_namespaces_are_seen():
    with pair() as (a, b), closing(open_lookups(Wanted().to_record(), 64, 0, ENGINE)) as table:
        a.send("va", gre_packet(A, B))
        b.send("vb", gre_packet(B, A))
        inodes = {seen.netns for seen in settled(table, 2)}
        assert inodes == {a.namespace.inode, b.namespace.inode}


FILTERS = (
    ({"key": 5}, {5}),
    ({"key": 0}, {0}),
    ({"no_key": True}, {None}),
    ({"ifindex": 1}, set()),
    ({"remote": ip_address(A)}, {None, 0, 5}),
    ({"remote": ip_address(B)}, set()),
    ({"local": ip_address(B), "key": 5}, {5}),
    ({"local": ip_address(A)}, set()),
)


@pytest.mark.parametrize(("wanted", "keys"), FILTERS)
def test_the_kernel_filters(wanted, keys):
    with pair() as (a, b), watching(b, **wanted) as table, watching(b) as everything:
        tunnel_b(b, "key 5")
        for key in (None, 0, 5):
            a.send("va", gre_packet(A, B, key=key))
        settled(everything, 3)
        assert {seen.key for seen in settled(table, len(keys))} == keys


def test_key_0_and_no_key_are_two_kinds():
    with pair() as (a, b), watching(b) as table:
        a.send("va", gre_packet(A, B, key=0))
        a.send("va", gre_packet(A, B))
        settled(table, 2)
        assert {entry.key for entry in counts(table)} == {0, None}


def test_kinds_that_take_turns_are_counted_apart():
    with pair() as (a, b), watching(b) as table:
        tunnel_b(b, "key 1")
        for turn in range(1, 11):
            for key in (1, 2, None):
                a.send("va", gre_packet(A, B, key=key), times=turn)
        settled(table, 165)
        found = {(entry.key, entry.tunnel_name): entry.count for entry in counts(table)}
        assert found == {(1, "gre1"): 55, (2, None): 55, (None, None): 55}


def test_a_flood_is_counted_exactly_and_shown_within_the_budget():
    with pair() as (a, b), watching(b, budget=20) as table:
        tunnel_b(b, "key 1")
        a.send("va", gre_packet(A, B, key=1), times=4000)
        a.send("va", gre_packet(A, B, key=2), times=1000)
        events = settled(table, 5000)
        entries = {(entry.key, entry.tunnel_name): entry.count for entry in counts(table)}
        assert entries == {(1, "gre1"): 4000, (2, None): 1000}
        windows = Counter(seen.time_ns // LOOKUP_WINDOW_NS for seen in events)
        assert max(windows.values()) <= 20
        lost = table.lost()
        assert (lost.not_shown, lost.ring_full, lost.missed) == (5000 - len(events), 0, 0)
        assert not lost.sentences()


def test_a_full_ring_is_said():
    # That of the others would be full as well, and said to be so for good.
    Shared.close()
    with pair() as (a, b), watching(b, own=True) as table:
        a.send("va", gre_packet(A, B, key=1), times=12_000)
        events = settled(table, 12_000)
        lost = table.lost()
        assert lost.ring_full == 12_000 - len(events) > 0
        assert "came faster than they were read" in " ".join(lost.sentences())
        a.send("va", gre_packet(A, B, key=2))
        assert [seen.key for seen in settled(table, 12_001)] == [2]


def test_tuples_are_kept_apart_and_the_rest_is_counted():
    with pair() as (a, b), watching(b, capacity=8) as table:
        for key in range(20):
            a.send("va", gre_packet(A, B, key=key), times=2)
        events = settled(table, 40)
        assert len(events) == 40
        assert len(counts(table)) == 8
        assert table.lost().overflow == 40 - sum(entry.count for entry in counts(table))
        assert "there are too many kinds" in " ".join(table.lost().sentences())


def test_the_first_of_a_window_wakes_the_reader():
    with pair() as (a, b), watching(b, own=True) as table:
        for _ in range(3):
            assert select.select([table], [], [], 0) == ([], [], [])
            a.send("va", gre_packet(A, B))
            assert select.select([table], [], [], 10) == ([table], [], [])
            assert len(table.take()) == 1
            time.sleep(2 * LOOKUP_WINDOW_NS / 1e9)


@pytest.mark.parametrize("rings", [True, False])
def test_by_bcc_with_and_without_ring_buffers(monkeypatch, rings):
    """On every kernel of the lab, whichever engine it would take by itself."""
    monkeypatch.setattr(bcc, "has_rings", lambda: rings)
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        record = Wanted(netns=b.namespace.inode).to_record()
        with closing(open_lookups(record, 64, 0, "bcc")) as table:
            for key in (1, 2):
                a.send("va", gre_packet(A, B, key=key), times=50)
            events = settled(table, 100)
            assert [(seen.key, seen.tunnel_name) for seen in events] == [
                *[(1, "gre1")] * 50,
                *[(2, None)] * 50,
            ]
            assert {(entry.key, entry.count) for entry in counts(table)} == {(1, 50), (2, 50)}
            assert not table.lost().sentences()


def test_kinds_are_taken_out_and_counts_stay_exact_and_a_scan_hides_no_peer():
    """Three times as many forged keys as there is room for, and a peer before, amid and after."""
    capacity, keys = 256, 768
    with pair() as (a, b), watching(b, capacity=capacity) as table:
        tunnel_b(b, "key 1")
        send, events = a.sender("va"), []
        for key in range(1000, 1000 + keys):
            send(gre_packet(A, B, key=key))
            if key % 64 == 0:
                send(gre_packet(A, B, key=1))
                events += settled_so_far(table)
        events += settled_so_far(table)
        assert table._generation >= 2
        sent = keys + keys // 64
        deadline = time.monotonic() + 20
        while total(table) < sent and time.monotonic() < deadline:
            events += settled_so_far(table)
        assert total(table) == sent, table.lost()
        # Each was shown, and none has a mark of ours.
        assert Counter(seen.key for seen in events)[1] == keys // 64
        assert len(events) == sent
        known = {entry.key: entry.count for entry in counts(table)}
        assert known[1] == keys // 64
        assert len(counts(table)) == len(known) <= 2 * capacity
        # Nobody looks, and the table fills.
        for key in range(5000, 5000 + keys):
            send(gre_packet(A, B, key=key))
        deadline = time.monotonic() + 20
        while total(table) < sent + keys:
            assert time.monotonic() < deadline, table.lost()
            time.sleep(0.05)
        assert table.lost().overflow
        # A look later there is room again, and what comes is seen at once.
        table.take()
        send(gre_packet(A, B, key=1))
        began = time.monotonic()
        while not (seen := settled_so_far(table)):
            assert time.monotonic() - began < 3
        assert seen[-1].tunnel_name == "gre1"
        assert {e.key: e.count for e in counts(table)}[1] == keys // 64 + 1


def settled_so_far(table):
    time.sleep(0.05)
    return [decode_decision(record, 0) for record in table.take()]


def test_healthy_traffic_both_ways():
    with pair() as (a, b), watching(b) as table:
        tunnel_a(a, "key 1")
        tunnel_b(b, "key 1")
        assert a.ping(INNER_B, count=3)
        events = settled(table, 3)
        assert {(seen.tunnel_name, seen.key) for seen in events} == {("gre1", 1)}


def test_without_ip6_gre_the_rest_is_watched():
    Shared.close()
    run("modprobe", "-r", "ip6_gre")
    try:
        with pair() as (a, b), watching(b, own=True) as table:
            assert not table.watches_ipv6
            a.send("va", gre_packet(A, B))
            assert len(settled(table, 1)) == 1
    finally:
        run("modprobe", "ip6_gre")


def test_without_gre_the_modules_to_load_are_named():
    Shared.close()
    run("modprobe", "-r", "ip6_gre")
    run("modprobe", "-r", "ip_gre")
    try:
        with pytest.raises(PrerequisiteError, match="modprobe ip_gre"):
            open_lookups(Wanted().to_record(), 16, 0, ENGINE)
    finally:
        run("modprobe", "ip_gre")
        run("modprobe", "ip6_gre")


def programs():
    """Our programs in the kernel, as bpftool shows them."""
    shown = run("bpftool", "prog", "show").stdout
    return [name for name in ("count_lookup", "note_arrival") if f"name {name}" in shown]


def test_nothing_stays_attached():
    Shared.close()
    with hosts("a") as (a,):
        table = open_lookups(Wanted(netns=a.namespace.inode).to_record(), 16, 0, ENGINE)
        assert programs()
        table.close()
        table.close()
        assert table.take() == []
        # Programs are freed a moment later.
        deadline = time.monotonic() + 10
        while programs():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_any_bytes_behind_the_header_do_no_harm():
    with pair() as (a, b), watching(b) as table:
        for flags in range(0, 0x10000, 0x0101):
            body = flags.to_bytes(2, "big") + b"\x65\x58" + bytes(range(32))
            a.send("va", ipv4(A, B, 47, body))
        a.send("va", gre_packet(A, B, key=77))
        deadline = time.monotonic() + 10
        while not any(entry.key == 77 for entry in counts(table)):
            assert time.monotonic() < deadline
        assert all(seen.tunnel_name is None for seen in counts(table))
