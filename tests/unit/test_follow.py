# SPDX-License-Identifier: GPL-2.0-only
"""Decisions as they come, held against the model, over an engine and a table made by hand."""

import ctypes
import io
import json
import time
from dataclasses import replace
from ipaddress import ip_address
from types import SimpleNamespace

from gretrace.engine import LookupsLost
from gretrace.engine.contract import LookupEvent, LookupKey, LookupStats
from gretrace.engine.lookups import Sums, count_of
from gretrace.host.namespaces import Namespace
from gretrace.kernel.lookup import Pass, Query, Tables
from gretrace.lookups import follow as following
from gretrace.lookups.follow import Follower, follow
from gretrace.lookups.predict import judge, predict_elsewhere
from gretrace.model import Decision
from gretrace.render.lookup import JsonLookups, TextLookups, explanation
from tests.unit.cases import NETNS, VB, A, B, tunnel

GRE1 = tunnel("gre1", key=1)
GRE0 = tunnel("gre0", local=None, remote=None, ifindex=2, fallback=True)


def event(*, key=1, chosen=GRE1, remote=A, moment=5):
    record = LookupEvent(time_ns=moment)
    fill(record.key, key, chosen, remote)
    record.tunnel_name = chosen.name.encode() if chosen else b""
    return bytes(record)


def fill(record, key, chosen, remote=A):
    seen = record.tuple
    seen.netns, seen.ifindex, seen.family, seen.gre_protocol = NETNS, VB, 4, 0x0800
    seen.gre_flags, seen.gre_key = (0x2000, key) if key is not None else (0, 0)
    ctypes.memmove(seen.remote, ip_address(remote).packed, 4)
    ctypes.memmove(seen.local, ip_address(B).packed, 4)
    if chosen:
        record.tunnel, record.tunnel_netns = chosen.ifindex, NETNS


class FakeLookups:
    watches_ipv6 = True

    def __init__(self):
        self.events, self.lost_so_far, self.kept = [], LookupsLost(), {}

    def decide(self, times=1, **what):
        self.events += [event(**what)] * times
        key = LookupKey()
        fill(key, what.get("key", 1), what.get("chosen", GRE1), what.get("remote", A))
        known = self.kept.get(bytes(key))
        stats = LookupStats.from_buffer_copy(known) if known else LookupStats(first_ns=5)
        stats.count += times
        chosen = what.get("chosen", GRE1)
        stats.tunnel_name = chosen.name.encode() if chosen else b""
        self.kept[bytes(key)] = bytes(stats)

    def fileno(self):
        return 0

    def take(self):
        taken, self.events = self.events, []
        return taken

    def entries(self):
        return iter(self.kept.items())

    def lost(self):
        return self.lost_so_far


class FakeTable:
    namespace = Namespace(NETNS, None)
    before = None
    changed = gone = False

    def __init__(self, *tunnels):
        self.tables = Tables(tunnels)

    def take_notice(self):
        changed, self.changed = self.changed, False
        return changed

    def settle(self):
        pass

    def link_name(self, ifindex):
        return "vb" if ifindex == VB else None


class FakeTables:
    def __init__(self, table):
        self.table = table

    def of(self, inode, _cookie):
        return self.table if inode == NETNS else None

    def opened(self):
        return [self.table]

    readables = opened

    def departed(self):
        return [self.table] if self.table.gone else []

    def are_all(self, tables):
        return len(tables) == 1

    def let_go(self, _tables):
        pass


class FakeWatch:
    def __init__(self, rounds):
        self.rounds = rounds
        self.overdue = False

    @property
    def stopped(self):
        return self.rounds == 0

    def wait(self, _readables, _timeout):
        self.rounds -= 1


def session(table, lookups, *, rounds=1, limit=None, walks=False, kind="json"):
    stream = io.StringIO()
    output = (
        JsonLookups(stream) if kind == "json" else TextLookups(stream, color=False, walks=walks)
    )
    said = []
    follower = Follower(lookups, FakeTables(table), output.prepare)
    follow(follower, FakeWatch(rounds), output, limit=limit, tell=said.append)
    return stream.getvalue(), said


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def test_an_accepted_packet_and_one_that_nothing_takes():
    lookups = FakeLookups()
    lookups.decide()
    lookups.decide(key=2, chosen=None)
    accepted, rejected = records(session(FakeTable(GRE0, GRE1), lookups)[0])
    assert (accepted["tunnel"], accepted["pass"], accepted["fallback"]) == ("gre1", "exact", False)
    assert (accepted["iif"], accepted["key"], accepted["flags"]) == ("vb", 1, ["key"])
    # The model expects gre0 to take it, as it is up; the kernel says otherwise.
    assert (rejected["tunnel"], rejected["disagreement"]) == (None, "gre0")


def test_time_is_the_moment_of_the_event_on_the_wall_clock():
    lookups = FakeLookups()
    lookups.decide(moment=time.monotonic_ns())
    (record,) = records(session(FakeTable(GRE1), lookups)[0])
    assert record["time"][:16] == time.strftime("%Y-%m-%dT%H:%M", time.gmtime())


def test_what_is_prepared_is_prepared_anew_when_the_tunnels_change():
    lookups, table = FakeLookups(), FakeTable(GRE1)
    stream = io.StringIO()
    output = JsonLookups(stream)
    follower = Follower(lookups, FakeTables(table), output.prepare)
    said = []
    for tables in (table.tables, Tables([replace(GRE1, ikey=9)]), None):
        if tables:
            table.tables, table.changed = tables, True
        lookups.decide()
        said += [json.loads(prepared) for _, prepared in follower.observe()]
    assert [record["disagreement"] for record in said] == [None, "none", "none"]


def test_a_decision_of_a_moment_before_the_change_is_no_disagreement():
    lookups, table = FakeLookups(), FakeTable()
    table.before = Tables([GRE1])
    lookups.decide()
    (record,) = records(session(table, lookups)[0])
    assert (record["tunnel"], record["disagreement"]) == ("gre1", None)


def test_a_limit_ends_it_and_the_table_counts_all():
    lookups = FakeLookups()
    lookups.decide(times=50)
    text, said = session(FakeTable(GRE1), lookups, limit=3, rounds=9, kind="text")
    assert text.count("-> gre1 (exact)") == 3
    assert "50         gre1      exact" in text
    assert said == []


def test_what_was_not_shown_or_lost_is_told():
    lookups = FakeLookups()
    lookups.decide()
    lookups.lost_so_far = LookupsLost(ring_full=2, not_shown=40)
    said = session(FakeTable(GRE1), lookups)[1]
    assert any("2 lookups were counted but not shown" in line for line in said)
    assert any(line.startswith("40 packets so far were counted") for line in said)


def test_what_is_lost_is_told_at_once_then_once_a_minute_and_at_the_end(monkeypatch):
    clock, said = iter([0, 1, 59, 61, 62, 63]), []
    monkeypatch.setattr(following, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    losses = following._Losses(said.append)
    for number in range(1, 6):
        losses.note(LookupsLost(overflow=number))
    losses.note(LookupsLost(overflow=6), is_last=True)
    assert [line.split()[0] for line in said] == ["1", "4", "6"]


def entry(key, count, last=9):
    made = LookupKey()
    fill(made, key, GRE1)
    return bytes(made), bytes(LookupStats(count=count, first_ns=5, last_ns=last, tunnel_name=b"t"))


def test_what_was_taken_out_is_added_up_and_a_scan_puts_nothing_real_out():
    sums = Sums(100)
    for key in range(10):
        sums.add(*entry(key, 2))
    for key in range(1000, 3000):
        sums.add(*entry(key, 1))
        if key % 100 == 0:
            sums.add(*entry(3, 1, last=key))
    kept = sums.items()
    assert len(kept) == 100
    whole = LookupStats.from_buffer_copy(kept[entry(3, 1)[0]])
    assert (whole.count, whole.first_ns, whole.last_ns) == (22, 5, 2900)
    assert {entry(key, 1)[0] for key in range(10)} <= kept.keys()
    assert sum(map(count_of, kept.values())) + sums.let_go == 20 + 2000 + 20


def test_no_packet_is_said():
    assert "No GRE packet came." in session(FakeTable(), FakeLookups(), kind="text")[0]


def decision(**more):
    values = {
        "time_ns": 1,
        "netns": NETNS,
        "ifindex": VB,
        "family": 4,
        "remote": ip_address(A),
        "local": ip_address(B),
        "key": 1,
        "flags": ("key",),
        "protocol": 0x0800,
        "tunnel_ifindex": GRE1.ifindex,
        "tunnel_name": "gre1",
        "tunnel_netns": NETNS,
    }
    return Decision(**{**values, **more})


def test_a_tunnel_that_was_moved_away_is_believed():
    moved = judge(decision(tunnel_netns=77), Tables(), FakeTable())
    assert (moved.tunnel, moved.disagreement) == ("gre1", None)
    assert judge(decision(), Tables(), FakeTable()).disagreement == "none"
    assert judge(decision(), Tables(), None).disagreement is None


def asked(key=1, remote=A, protocol=0x0800):
    return Query(ip_address(remote), ip_address(B), key, protocol)


def test_a_prediction_says_who_takes_it_or_who_nearly_would():
    taken = predict_elsewhere([GRE1], asked(), None)
    assert (taken.tunnel, taken.decided_by) == ("gre1", Pass.EXACT)
    said = explanation(taken, color=False, walks=False)
    assert said == "20.1.1.2 > 20.1.1.1, key 1, 0x0800: gre1 takes it (exact)."
    missed = explanation(predict_elsewhere([GRE1], asked(None), None), color=False, walks=False)
    assert "no tunnel takes it" in missed
    assert "its key is 1, the packet's none" in missed
    swallowed = predict_elsewhere([GRE0, GRE1], asked(None), None)
    assert swallowed.fallback
    assert "the kernel's fallback device" in explanation(swallowed, color=False, walks=False)


def test_a_walk_shows_what_was_met_in_each_bucket():
    said = explanation(predict_elsewhere([GRE0, GRE1], asked(), "vb"), color=False, walks=True)
    lines = said.splitlines()
    assert lines[1] == "    gre bucket 99, exact:"
    assert lines[2].startswith(
        "      gre1 (gre remote 20.1.1.2 local 20.1.1.1 key 1): fits, but is"
    )
    assert "      empty" in lines


def test_the_device_of_a_file_is_found_by_its_name():
    bound = replace(GRE1, name="bound", ifindex=11, link=-3, link_name="wan")
    assert predict_elsewhere([GRE1, bound], asked(), "wan").tunnel == "bound"


def test_the_run_ends_with_the_only_namespace_that_it_watched():
    table = FakeTable(GRE1)
    table.gone = True
    _, said = session(table, FakeLookups(), rounds=5)
    assert "the network namespace None is gone" in said
