# SPDX-License-Identifier: GPL-2.0-only
"""From the kernel's count of drops to reports of why: the use case behind `explain-drop`."""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Protocol, TypeAlias

from gretrace.engine import DropTable, Lost
from gretrace.engine.decode import decode_drop
from gretrace.engine.wanted import Wanted
from gretrace.explain.faults import Faults
from gretrace.explain.losses import Losses
from gretrace.explain.swallowed import find_swallowed
from gretrace.explain.tally import Sums, Totals, report_of, tuple_of
from gretrace.host.facts import Host
from gretrace.host.firewall import Rulesets
from gretrace.host.others import OtherNamespaces
from gretrace.host.tables import TunnelTables
from gretrace.host.tunnels import TunnelTable
from gretrace.kernel.lookup import Tables
from gretrace.kernel.quiet import concerned, is_doubtful, quiet
from gretrace.live import Readable, Watch
from gretrace.model import Drop, Report, Total, Traffic, Verdict
from gretrace.verdicts import Case, explain

# Of thousands of tunnels, those whose packets are told of when nothing was dropped.
HEARD_AT_MOST = 8

# How often a count that grows is told, in seconds.
TICK = 1.0
# New kinds of drop come in bursts; this long a burst is gathered before it is read.
BURST = 0.02
# To read a table of 100,000 kinds takes a fifth of a second. It is not read again, for new kinds
# or for counts, before that many times as long has passed.
PAUSE, REST = 3, 8
# So many reports are held at a time: a report has all its words.
AT_ONCE = 256

# What a report is known by, the report as it is now, and whether it is new.
Seen: TypeAlias = tuple[Hashable, Report, bool]


class Output(Protocol):
    """Where reports go."""

    def show(self, identity: Hashable, report: Report) -> None:
        """Show a report that is new, or whose count has grown, to whoever reads it now."""

    def finish(self, totals: Iterable[Total], heard: Mapping[str, int]) -> None:
        """Show the end; `heard` are the packets that each tunnel received meanwhile."""


class Explainer:
    """Turns what the kernel counted since the last look into reports."""

    def __init__(
        self,
        drops: DropTable,
        tables: TunnelTables,
        wanted: Wanted,
        load_reasons: Callable[[], Mapping[int, str]],
        rulesets: Rulesets | None = None,
        others: OtherNamespaces | None = None,
        sums: Sums | None = None,
    ) -> None:
        self._drops = drops
        self._tables = tables
        self._wanted = wanted
        self._load_reasons = load_reasons
        # Taken once, or the first sight of a drop would move with every adjustment of the clock.
        self._clock_offset = time.time_ns() - time.monotonic_ns()
        self.totals: Sums = sums or Totals()
        # Packets that were freed by design, by the words that say so.
        self.freed: Counter[str] = Counter()
        self.faults = Faults()
        # Packets told of as taken by a fallback device, by namespace and device.
        self._taken: Counter[tuple[int, int]] = Counter()
        # When the table was read, and how long that took, in seconds.
        self._read_at = self._reading = 0.0
        # What was read of each namespace, by its inode, during one look at the drops.
        self._hosts: dict[int, Host] = {}
        self._rulesets, self._others = rulesets or Rulesets(), others or OtherNamespaces()
        self._left = 0  # packets that were counted and not judged before the end

    @cached_property
    def reasons(self) -> Mapping[int, str]:
        """The names of the kernel's drop reasons."""
        # Only the first drop needs them, and reading the kernel's BTF would delay the start.
        return self._load_reasons()

    def observe(
        self, *, grown: bool = True, overdue: Callable[[], bool] = lambda: False
    ) -> Iterator[Seen]:
        """Judge the drops since the last call, and tell of each report that it adds to.

        Without `grown`, kinds that are known already are left for later, unless a link has
        changed: what they were dropped for is known best by the tunnels of that time. Once
        `overdue` says so, what is left is counted only.
        """
        self._read_at = time.monotonic()
        self._drops.look()
        self._reading = time.monotonic() - self._read_at
        # Only now: a change that came before a drop has been announced before it was counted.
        for table in self._tables.opened():
            grown |= bool(table.take_notice())
        self._hosts.clear()
        self._left = 0
        for kind in self._drops.kinds(grown=grown):
            if overdue():
                self._left = kind.count + sum(rest.count for rest in self._drops.kinds())
                break
            drop = decode_drop(kind.key, kind.stats, kind.place, self.reasons, self._clock_offset)
            seen = self._count(drop, kind.count)
            if seen:
                yield seen
        for table in self._tables.opened():
            table.settle()

    @property
    def tables(self) -> TunnelTables:
        """The tunnels of the namespaces that are watched."""
        return self._tables

    def readables(self) -> list[Readable]:
        """Return what to wait for: new kinds of drop, changes of links, ends of namespaces."""
        return [self._drops, *self._tables.readables()]

    def due(self, times: int) -> float:
        """Return when so many times as long will have passed as it took to read the table."""
        return self._read_at + (1 + times) * self._reading

    def lost(self) -> Lost:
        """Return what could not be explained because it was lost."""
        return self._drops.lost()

    def left(self) -> Iterator[str]:
        """Tell, in a sentence, what was not judged before the end."""
        if self._left:
            yield f"{self._left} dropped packets were counted, and not judged before the end"

    def heard(self) -> dict[str, int]:
        """Return how many packets each tunnel has received since the start."""
        return {
            tunnel.name: traffic.received_while_watching
            for table in self._tables.opened()
            for tunnel in table.tables.tunnels[:HEARD_AT_MOST]
            if tunnel.up and not tunnel.fallback and (traffic := table.traffic(tunnel.ifindex))
        }

    def swallowed(self) -> Iterator[Seen]:
        """Tell of what fallback devices took and nobody dropped, unless packets were chosen."""
        if self._wanted.is_choosy:
            return
        for table in self._tables.opened():
            for drop, verdict, tunnel in find_swallowed(table, self._taken):
                self._taken[drop.netns, drop.ifindex] += drop.count
                seen, name = tuple_of(drop, table.tables), table.namespace.name
                yield self.totals.add(report_of(drop, verdict, seen, tunnel.name, name))

    @property
    def total(self) -> int:
        """How many packets were dropped so far, explained or not."""
        return self.totals.packets + self._left + self.lost().overflow

    def _count(self, drop: Drop, fresh: int) -> Seen | None:
        table = self._tables.of(drop.netns, drop.netns_cookie)
        words = quiet(drop, concerned(drop, table.tables) if table else None)
        if words and not is_doubtful(drop):
            self.freed[words] += fresh
            return None
        seen = tuple_of(drop, table.tables if table else Tables())
        if drop.on_tunnel and not self._wanted.admits(seen):
            return None
        iif = table.link_name(drop.ifindex) if table else None
        verdict = self._judge(drop, table, iif)
        if words and verdict.cause == "other":
            self.freed[words] += fresh
            return None
        if verdict.cause == "fallback-taken" and drop.on_tunnel:
            self._taken[drop.netns, drop.ifindex] += fresh
        namespace = table.namespace.name if table else None
        return self.totals.add(report_of(drop, verdict, seen, iif, namespace, fresh))

    def _judge(self, drop: Drop, table: TunnelTable | None, iif: str | None) -> Verdict:
        verdict = self._explain(drop, table, iif)
        self.faults.note(verdict.faults)
        return verdict

    def _explain(self, drop: Drop, table: TunnelTable | None, iif: str | None) -> Verdict:
        if table is None:
            return explain(Case(drop, None, iif=iif))
        if table.namespace.inode not in self._hosts:
            self._hosts[table.namespace.inode] = Host(table, self._rulesets, self._others)
        host = self._hosts[table.namespace.inode]
        traffic: dict[int, Traffic] = {}
        leaving_by = table.link_name(drop.leaving_by) if drop.leaving_by else None
        case = Case(drop, table.tables, traffic, iif, leaving_by, table.namespace.reached, host)
        # Filled in late, as the case finds the candidates; they do not depend on it.
        near = [candidate.tunnel for candidate in case.candidates]
        traffic.update(host.traffic([*near, *filter(None, (case.carrier, case.chosen))]))
        verdict = explain(case)
        if verdict.cause == "other" and table.before is not None:
            # The packet may have died just before the tunnel was changed.
            earlier = explain(replace(case, tables=table.before))
            return earlier if earlier.cause != "other" else verdict
        return verdict


def follow(
    explainer: Explainer,
    watch: Watch,
    output: Output,
    *,
    limit: int | None,
    tell: Callable[[str], None],
) -> None:
    """Show reports until `watch` says stop, or `limit` packets were dropped.

    A new report is shown at once, a grown count at most once a TICK, and at the end all
    that was not shown yet. `tell` is told, in a sentence, of everything that was lost.
    """
    teller, losses = _Teller(output), Losses(tell, lambda: explainer.reasons)
    due = time.monotonic() + TICK

    done = False
    while not done:
        ready = watch.wait(explainer.readables(), due - time.monotonic())
        if ready:
            watch.wait((), max(BURST, explainer.due(PAUSE) - time.monotonic()))
        # Asked before the look, so that nothing which came before the end is left out.
        departed = explainer.tables.departed()
        done = watch.stopped or explainer.tables.are_all(departed)
        is_due = done or bool(departed) or time.monotonic() >= due
        seen = explainer.observe(grown=is_due or limit is not None, overdue=lambda: watch.overdue)
        teller.tell(seen, is_due=is_due)
        for sentence in explainer.faults.sentences():
            tell(sentence)
        done = done or (limit is not None and explainer.total >= limit)
        if done:
            teller.tell(explainer.swallowed(), is_due=True)
            teller.tell_rest()
        if done or is_due:
            due = max(time.monotonic() + TICK, explainer.due(REST))
            losses.note(explainer.lost(), is_last=done)
        if done:
            for sentence in explainer.left():
                tell(sentence)
            for table in departed:
                tell(table.namespace.gone)
            output.finish(explainer.totals, explainer.heard())
        explainer.tables.let_go(departed)


class _Teller:
    """Shows new reports at once, and those that grew when they are due, each once a look."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._grown: dict[Hashable, Report] = {}

    def tell(self, seen: Iterator[Seen], *, is_due: bool) -> None:
        """Show what was seen in one look, a few at a time; keep what may not be shown yet."""
        shown: set[Hashable] = set()
        while few := list(islice(seen, AT_ONCE)):
            latest = {identity: report for identity, report, _ in few}
            new = {identity for identity, _, is_new in few if is_new}
            for identity, report in latest.items():
                self._grown[identity] = report
                if identity in new or (is_due and identity not in shown):
                    self._output.show(identity, self._grown.pop(identity))
                    shown.add(identity)
        if is_due:
            self._tell_kept(but=shown)

    def tell_rest(self) -> None:
        """Show what was kept."""
        self._tell_kept(but=set())

    def _tell_kept(self, *, but: set[Hashable]) -> None:
        for identity in [kept for kept in self._grown if kept not in but]:
            self._output.show(identity, self._grown.pop(identity))
