# SPDX-License-Identifier: GPL-2.0-only
"""The use case over a table of drops and tunnels that a test holds in its hands."""

import ctypes
import tracemalloc
from dataclasses import replace

import pytest

from gretrace.engine import Kind, Lost, Unkept
from gretrace.engine.contract import DropKey, DropStats
from gretrace.engine.wanted import Wanted
from gretrace.explain.drops import AT_ONCE, PAUSE, REST, Explainer, _Teller, follow
from gretrace.host.namespaces import Namespace
from gretrace.kernel.lookup import Tables
from gretrace.model import Route, Traffic
from tests.frames import gre_packet
from tests.unit.cases import NETNS, VB, A, B, tunnel


class FakeDrops:
    def __init__(self):
        self.kept = {}
        self.places = {}
        self.counted = {}
        self.unkept = ()

    def count(self, packet, times=1, place=b"gre_rcv+0x1/0x2 [ip_gre]"):
        key = DropKey(location=hash((packet, place)) % 2**64, reason=2)
        key.tuple.netns, key.tuple.ifindex = NETNS, VB
        known = self.kept.get(bytes(key))
        stats = DropStats.from_buffer_copy(known) if known else DropStats(first_ns=5)
        stats.count += times
        stats.last_ns += 1
        stats.length = stats.sample_length = len(packet)
        ctypes.memmove(stats.sample, packet, len(packet))
        self.kept[bytes(key)] = bytes(stats)
        self.places[key.location] = place

    def fileno(self):
        return 0

    def look(self):
        pass

    def kinds(self, *, grown=True):
        for key, stats in self.kept.items():
            known, count = self.counted.get(key), DropStats.from_buffer_copy(stats).count
            if count == known or (known is not None and not grown):
                continue
            self.counted[key] = count
            place = self.places[DropKey.from_buffer_copy(key).location]
            yield Kind(key, stats, place, count - (known or 0))

    def lost(self):
        return Lost(unkept=self.unkept)


class FakeTable:
    namespace = Namespace(NETNS, None)

    def __init__(self, *tunnels):
        self.tables = Tables(tunnels)
        self.before = None
        self.changed = self.gone = False

    def change(self, *tunnels):
        self.before, self.tables = self.tables, Tables(tunnels)
        self.changed = True

    def take_notice(self):
        changed, self.changed = self.changed, False
        return changed

    def settle(self):
        self.before = None

    def traffic(self, _ifindex):
        return Traffic(0, 1)

    def link_name(self, _ifindex):
        return "vb"

    def route(self, *_asked):
        return Route()


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

    def let_go(self, tables):
        self.let_go_of = list(tables)


class FakeOutput:
    def __init__(self):
        self.shown = []
        self.finished = self.heard = None

    def show(self, _identity, report):
        self.shown.append((report.verdict.cause, report.count))

    def finish(self, reports, heard):
        self.heard = heard
        self.finished = [total.count for total in reports]


class FakeWatch:
    """Lets a script of actions happen, one at each wait."""

    def __init__(self, *actions):
        self.actions = list(actions)
        self.overdue = False

    @property
    def stopped(self):
        return not self.actions

    def wait(self, _readables, _timeout):
        self.actions.pop(0)()
        return set()


def explainer(drops, *tunnels, wanted=None):
    table = FakeTable(*tunnels)
    made = Explainer(drops, FakeTables(table), wanted or Wanted(), lambda: {2: "NOT_SPECIFIED"})
    return made, table


def outcomes(made):
    return [(total.cause, total.count) for total in made.totals]


def look(made, **how):
    """All that one look tells: cause, count, and whether it is new."""
    return [(r.verdict.cause, r.count, is_new) for _, r, is_new in made.observe(**how)]


PACKET = gre_packet(A, B, key=2)


def test_equal_drops_are_one_report_whose_count_grows():
    drops = FakeDrops()
    made, _ = explainer(drops, tunnel(key=1))
    drops.count(PACKET, 3)
    assert look(made) == [("key-mismatch", 3, True)]
    assert look(made) == []
    drops.count(PACKET, 4)
    assert look(made) == [("key-mismatch", 7, False)]
    assert outcomes(made) == [("key-mismatch", 7)]


def test_a_changed_tunnel_gets_only_the_drops_that_came_after():
    drops = FakeDrops()
    made, table = explainer(drops, tunnel(key=1))
    drops.count(PACKET, 3)
    look(made)
    table.change(tunnel(key=2, up=False))
    drops.count(PACKET, 5)
    look(made)
    assert outcomes(made) == [("key-mismatch", 3), ("tunnel-down", 5)]


def test_a_drop_just_before_the_change_is_judged_by_what_was():
    drops = FakeDrops()
    made, table = explainer(drops, tunnel(key=1))
    drops.count(PACKET)
    table.change(tunnel(key=2))  # mended before anyone looked
    look(made)
    assert outcomes(made) == [("key-mismatch", 1)]


def test_the_same_tuple_at_another_place_is_another_report():
    drops = FakeDrops()
    made, _ = explainer(drops, tunnel(key=1))
    drops.count(PACKET)
    drops.count(PACKET, place=b"ip_defrag+0x1/0x2 [nf_defrag_ipv4]")
    look(made)
    assert outcomes(made) == [("key-mismatch", 1), ("other", 1)]


def test_without_the_namespace_the_place_is_all_that_is_said():
    drops = FakeDrops()
    made, table = explainer(drops, tunnel(key=1))
    made._tables = FakeTables(table)
    made._tables.of = lambda _inode, _cookie: None
    drops.count(PACKET)
    look(made)
    assert outcomes(made) == [("other", 1)]


def test_copies_of_a_capture_are_not_reported():
    drops = FakeDrops()
    made, _ = explainer(drops, tunnel(key=2))
    drops.count(PACKET, place=b"tpacket_rcv+0x1/0x2")
    assert look(made) == []
    assert made.total == 0


def test_following_shows_new_at_once_and_the_exact_count_at_the_end():
    drops, output, told = FakeDrops(), FakeOutput(), []
    made, _ = explainer(drops, tunnel(key=1))
    watch = FakeWatch(
        lambda: drops.count(PACKET), lambda: drops.count(PACKET, 9), lambda: drops.count(PACKET, 90)
    )
    follow(made, watch, output, limit=None, tell=told.append)
    assert output.shown == [("key-mismatch", 1), ("key-mismatch", 100)]
    assert output.finished == [100]
    assert output.heard == {"gre1": 0}
    assert told == []


def test_following_ends_at_the_limit():
    drops, output = FakeDrops(), FakeOutput()
    made, _ = explainer(drops, tunnel(key=1))
    watch = FakeWatch(lambda: drops.count(PACKET, 5), lambda: drops.count(PACKET, 5))
    follow(made, watch, output, limit=5, tell=lambda _: None)
    assert output.shown == [("key-mismatch", 5)]
    assert len(watch.actions) == 1


class Taking(FakeTable):
    """A table whose tunnels have each received five packets."""

    namespace = Namespace(NETNS, None)

    def traffic(self, _ifindex):
        return Traffic(5, 1, received_while_watching=5)


def swallowing(*tunnels, wanted=None):
    made = Explainer(FakeDrops(), FakeTables(Taking(*tunnels)), wanted or Wanted(), dict)
    return [report for _, report, _ in made.swallowed()]


FALLBACK = tunnel("gre0", local=None, remote=None, fallback=True, ifindex=VB)


def test_what_the_fallback_took_is_told_in_the_end():
    (report,) = swallowing(FALLBACK, tunnel("gre1", up=False))
    finding = report.verdict.finding
    assert (report.verdict.cause, report.count, finding.tunnel) == ("fallback-taken", 5, "gre1")
    assert "gre0" in finding.summary
    assert finding.summary.endswith("gre1 is down.")
    assert finding.fix[0].command.text == "ip link set dev gre1 up"


def test_a_fallback_that_is_down_or_a_tunnel_of_another_kind_is_no_matter():
    assert not swallowing(replace(FALLBACK, up=False), tunnel("gre1", up=False))
    (report,) = swallowing(FALLBACK, tunnel("gre1", kind="gretap", up=False))
    assert "no tunnel fits them" in report.verdict.finding.summary
    assert not swallowing(FALLBACK, tunnel("gre1", up=False), wanted=Wanted(key=1))


def test_lost_packets_are_told_and_count():
    drops, output, told = FakeDrops(), FakeOutput(), []
    made, _ = explainer(drops, tunnel(key=1))
    drops.unkept = (Unkept(b"gre_rcv+0x1/0x2 [ip_gre]", 2, 4), Unkept(b"ip_error+0x1/0x2", 7, 2))
    follow(made, FakeWatch(lambda: None), output, limit=None, tell=told.append)
    assert made.total == 6
    (sentence,) = told
    assert sentence == (
        "6 dropped packets were counted but not kept apart (4 in gre_rcv [ip_gre], NOT_SPECIFIED; "
        "2 in ip_error, 7): the table of kinds was full; watch fewer packets, by their "
        "remote, local or key, or have room for more kinds"
    )


def test_a_filter_decides_on_tunnels_by_their_tuple():
    ours = tunnel(key=5, ifindex=VB)
    for wanted, expected in [(Wanted(key=5), 1), (Wanted(key=6), 0), (Wanted(no_key=True), 0)]:
        drops = FakeDrops()
        made, _ = explainer(drops, ours, wanted=wanted)
        drops.count(PACKET, place=b"ip_forward+0x1/0x2")
        (key,) = drops.kept
        marked = DropKey.from_buffer_copy(key)
        marked.tuple.marks = 1
        drops.kept = {bytes(marked): drops.kept[key]}
        assert len(look(made)) == len(outcomes(made)) == expected, wanted


def test_what_is_known_waits_while_new_kinds_are_looked_for():
    drops = FakeDrops()
    made, _ = explainer(drops, tunnel(key=1))
    drops.count(PACKET, 3)
    look(made)
    drops.count(PACKET, 4)
    drops.count(gre_packet(A, B, key=3))
    assert look(made, grown=False) == [("key-mismatch", 1, True)]
    assert look(made) == [("key-mismatch", 7, False)]


def test_what_is_known_does_not_wait_once_a_link_has_changed():
    drops = FakeDrops()
    made, table = explainer(drops, tunnel(key=1))
    drops.count(PACKET, 3)
    look(made)
    drops.count(PACKET, 4)
    table.change(tunnel(key=2))
    assert look(made, grown=False) == [("key-mismatch", 7, False)]


MANY = 3 * AT_ONCE + 7


def test_of_many_kinds_each_is_shown_once_as_soon_as_it_is_judged():
    drops, output = FakeDrops(), FakeOutput()
    made, _ = explainer(drops, tunnel(key=1))
    for key in range(2, MANY + 2):
        drops.count(gre_packet(A, B, key=key), key)
    judged_at_first = []
    show = output.show

    def note(identity, report):
        judged_at_first.append(len(drops.counted))
        show(identity, report)

    output.show = note
    follow(made, FakeWatch(lambda: None), output, limit=None, tell=lambda _: None)
    assert sorted(count for _, count in output.shown) == list(range(2, MANY + 2))
    assert judged_at_first[0] == AT_ONCE
    assert len(output.shown) == MANY
    assert sum(output.finished) == made.total == sum(range(2, MANY + 2))


@pytest.mark.parametrize("looks", [1, 2])
def test_a_report_of_many_kinds_is_shown_once_a_look_and_has_all_in_the_end(looks):
    drops, output = FakeDrops(), FakeOutput()
    made, _ = explainer(drops, tunnel(key=1))
    for number in range(MANY):
        # What is inside makes another kind, and is no part of a report's tuple.
        drops.count(gre_packet(A, B, key=2, sequence=number))
    watch = FakeWatch(*[lambda: None] * looks)
    follow(made, watch, output, limit=None, tell=lambda _: None)
    assert output.shown == [("key-mismatch", AT_ONCE), ("key-mismatch", MANY)]
    assert output.finished == [MANY]


def test_little_is_kept_of_what_was_shown():
    drops, output = FakeDrops(), FakeOutput()
    made, _ = explainer(drops)
    output.show = lambda _identity, _report: None
    kinds = 2000
    for key in range(kinds):
        drops.count(gre_packet(A, B, key=key), place=b"ip_defrag+0x1/0x2 [nf_defrag_ipv4]")
    tracemalloc.start()
    follow(made, FakeWatch(lambda: None), output, limit=None, tell=lambda _: None)
    # But for the keys of the map, which the test holds itself.
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept / kinds < 600


def test_the_longer_the_table_the_rarer_it_is_read():
    made, _ = explainer(FakeDrops())
    made._read_at, made._reading = 100.0, 0.5
    assert made.due(PAUSE) == 102.0
    assert made.due(REST) == 104.5


def test_what_has_grown_is_shown_when_it_is_due():
    drops, output = FakeDrops(), FakeOutput()
    made, _ = explainer(drops, tunnel(key=1))
    teller = _Teller(output)
    drops.count(PACKET)
    teller.tell(made.observe(), is_due=False)
    drops.count(PACKET, 4)
    teller.tell(made.observe(), is_due=False)
    assert output.shown == [("key-mismatch", 1)]
    teller.tell(made.observe(), is_due=True)
    assert output.shown == [("key-mismatch", 1), ("key-mismatch", 5)]


def test_the_run_ends_with_the_only_namespace_that_it_watched():
    """What it had counted by then is judged by the tunnels that it had."""
    drops, output, told = FakeDrops(), FakeOutput(), []
    made, table = explainer(drops, tunnel(key=1))
    watch = FakeWatch(
        lambda: drops.count(PACKET),
        lambda: (drops.count(PACKET, 4), setattr(table, "gone", True)),
        lambda: pytest.fail("it went on"),
    )
    follow(made, watch, output, limit=None, tell=told.append)
    assert output.shown == [("key-mismatch", 1), ("key-mismatch", 5)]
    assert output.finished == [5]
    assert made.tables.let_go_of == [table]
    assert told == ["the network namespace None is gone"]
