"""The use case over a table of drops and tunnels that a test holds in its hands."""

import ctypes

from gretrace.contract import DropKey, DropStats
from gretrace.engine import Lost
from gretrace.explain import Explainer, follow
from gretrace.lookup import Tables
from gretrace.model import Traffic
from gretrace.namespaces import Namespace
from gretrace.wanted import Wanted
from tests.frames import gre_packet
from tests.unit.cases import NETNS, VB, A, B, tunnel


class FakeDrops:
    def __init__(self):
        self.kept = {}
        self.overflow = 0

    def count(self, packet, times=1, place=b"gre_rcv+0x1/0x2 [ip_gre]"):
        key = DropKey(location=hash((packet, place)) % 2**64, reason=2)
        key.tuple.netns, key.tuple.ifindex = NETNS, VB
        known = self.kept.get(bytes(key))
        stats = DropStats.from_buffer_copy(known) if known else DropStats(first_ns=5)
        stats.count += times
        stats.last_ns += 1
        stats.length = stats.sample_length = len(packet)
        ctypes.memmove(stats.sample, packet, len(packet))
        ctypes.memmove(stats.place, place, len(place))
        self.kept[bytes(key)] = bytes(stats)

    def fileno(self):
        return 0

    def drain(self):
        pass

    def entries(self):
        return iter(self.kept.items())

    def lost(self):
        return Lost(overflow=self.overflow)


class FakeTable:
    namespace = Namespace(NETNS, None)

    def __init__(self, *tunnels):
        self.tables = Tables(tunnels)
        self.before = None

    def change(self, *tunnels):
        self.before, self.tables = self.tables, Tables(tunnels)

    def take_notice(self):
        pass

    def settle(self):
        self.before = None

    def traffic(self, _ifindex):
        return Traffic(0, 1)

    def link_name(self, _ifindex):
        return "vb"


class FakeTables:
    def __init__(self, table):
        self.table = table

    def of(self, inode):
        return self.table if inode == NETNS else None

    def opened(self):
        return [self.table]


class FakeOutput:
    def __init__(self):
        self.shown = []
        self.finished = self.heard = None

    def show(self, _identity, report):
        self.shown.append((report.verdict.cause, report.count))

    def finish(self, reports, heard):
        self.heard = heard
        self.finished = [report.count for report in reports]


class FakeWatch:
    """Lets a script of actions happen, one at each wait."""

    def __init__(self, *actions):
        self.actions = list(actions)

    @property
    def stopped(self):
        return not self.actions

    def wait(self, _bells, _timeout):
        self.actions.pop(0)()
        return set()


def explainer(drops, *tunnels, wanted=None):
    table = FakeTable(*tunnels)
    made = Explainer(drops, FakeTables(table), wanted or Wanted(), lambda: {2: "NOT_SPECIFIED"})
    return made, table


def outcomes(made):
    return [(r.verdict.cause, r.count) for r in made.reports.values()]


PACKET = gre_packet(A, B, key=2)


def test_equal_drops_are_one_report_whose_count_grows():
    drops = FakeDrops()
    made, _ = explainer(drops, tunnel(key=1))
    drops.count(PACKET, 3)
    assert len(made.observe()) == 1
    assert made.observe() == []
    drops.count(PACKET, 4)
    assert len(made.observe()) == 1
    assert outcomes(made) == [("key-mismatch", 7)]


def test_a_changed_tunnel_gets_only_the_drops_that_came_after():
    drops = FakeDrops()
    made, table = explainer(drops, tunnel(key=1))
    drops.count(PACKET, 3)
    made.observe()
    table.change(tunnel(key=2, up=False))
    drops.count(PACKET, 5)
    made.observe()
    assert outcomes(made) == [("key-mismatch", 3), ("tunnel-down", 5)]


def test_a_drop_just_before_the_change_is_judged_by_what_was():
    drops = FakeDrops()
    made, table = explainer(drops, tunnel(key=1))
    drops.count(PACKET)
    table.change(tunnel(key=2))  # mended before anyone looked
    made.observe()
    assert outcomes(made) == [("key-mismatch", 1)]


def test_the_same_tuple_at_another_place_is_another_report():
    drops = FakeDrops()
    made, _ = explainer(drops, tunnel(key=1))
    drops.count(PACKET)
    drops.count(PACKET, place=b"ip_defrag+0x1/0x2 [nf_defrag_ipv4]")
    made.observe()
    assert outcomes(made) == [("key-mismatch", 1), ("other", 1)]


def test_without_the_namespace_the_place_is_all_that_is_said():
    drops = FakeDrops()
    made, table = explainer(drops, tunnel(key=1))
    made._tables = FakeTables(table)
    made._tables.of = lambda _inode: None
    drops.count(PACKET)
    made.observe()
    assert outcomes(made) == [("other", 1)]


def test_copies_of_a_capture_are_not_reported():
    drops = FakeDrops()
    made, _ = explainer(drops, tunnel(key=2))
    drops.count(PACKET, place=b"tpacket_rcv+0x1/0x2")
    assert made.observe() == []
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


def test_lost_packets_are_told_and_count():
    drops, output, told = FakeDrops(), FakeOutput(), []
    made, _ = explainer(drops, tunnel(key=1))
    drops.overflow = 6
    follow(made, FakeWatch(lambda: None), output, limit=None, tell=told.append)
    assert made.total == 6
    assert told[0].startswith("6 dropped packets were counted but not kept apart")


def test_interrupted_probes_are_told():
    assert "3 dropped packets may have gone unseen" in Lost(missed=3).sentences()[0]
    assert Lost().sentences() == []


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
        made.observe()
        assert len(made.reports) == expected, wanted
