"""From the kernel's count of drops to reports of why: the use case behind `explain-drop`."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Protocol

from gretrace.decode import decode_drop
from gretrace.engine import DropTable, Lost
from gretrace.live import Readable, Watch
from gretrace.lookup import Tables
from gretrace.model import Drop, Report, Verdict
from gretrace.surroundings import Host
from gretrace.tally import Identity, Tally, tuple_of
from gretrace.tunnels import TunnelTable, TunnelTables
from gretrace.verdicts import Case, explain
from gretrace.verdicts.quiet import is_quiet
from gretrace.wanted import Wanted

# Of thousands of tunnels, those whose packets are told of when nothing was dropped.
HEARD_AT_MOST = 8

# How often a count that grows is told, in seconds.
TICK = 1.0
# New kinds of drop come in bursts; this long a burst is gathered before it is read.
BURST = 0.02


class Output(Protocol):
    """Where reports go."""

    def show(self, identity: Identity, report: Report) -> None:
        """Show a report that is new, or whose count has grown."""

    def finish(self, reports: Iterable[Report], heard: Mapping[str, int]) -> None:
        """Show the end; `heard` are the packets that each tunnel received meanwhile."""


class Explainer:
    """Turns what the kernel counted since the last look into reports."""

    def __init__(
        self,
        drops: DropTable,
        tables: TunnelTables,
        wanted: Wanted,
        load_reasons: Callable[[], Mapping[int, str]],
    ) -> None:
        self._drops = drops
        self._tables = tables
        self._wanted = wanted
        self._load_reasons = load_reasons
        self._counted: dict[bytes, int] = {}
        # Taken once, or the first sight of a drop would move with every adjustment of the clock.
        self._clock_offset = time.time_ns() - time.monotonic_ns()
        self._tally = Tally()
        self.reports = self._tally.reports
        # What was read of each namespace, by its inode, during one look at the drops.
        self._hosts: dict[int, Host] = {}

    @cached_property
    def _reasons(self) -> Mapping[int, str]:
        # Only the first drop needs them, and reading the kernel's BTF would delay the start.
        return self._load_reasons()

    def observe(self) -> list[Identity]:
        """Judge all drops since the last call; return which reports are new or have grown."""
        self._drops.drain()
        fresh = [
            (key, stats, count)
            for key, stats in self._drops.entries()
            if (count := int.from_bytes(stats[:8], sys.byteorder)) != self._counted.get(key)
        ]
        # Only now: a change that came before a drop has been announced before it was counted.
        for table in self._tables.opened():
            table.take_notice()
        self._hosts.clear()
        changed: dict[Identity, None] = {}
        for key, stats, count in fresh:
            drop = decode_drop(key, stats, self._reasons, self._clock_offset)
            identity = self._count(drop, count - self._counted.get(key, 0))
            self._counted[key] = count
            if identity:
                changed[identity] = None
        for table in self._tables.opened():
            table.settle()
        return list(changed)

    def bells(self) -> list[Readable]:
        """Return what to wait for: new kinds of drop, and changes of links."""
        return [self._drops, *self._tables.opened()]

    def lost(self) -> Lost:
        """Return what could not be explained because it was lost."""
        return self._drops.lost()

    def heard(self) -> dict[str, int]:
        """Return how many packets each tunnel has received since the start."""
        return {
            tunnel.name: traffic.received_while_watching
            for table in self._tables.opened()
            for tunnel in table.tables.tunnels[:HEARD_AT_MOST]
            if tunnel.up and not tunnel.fallback and (traffic := table.traffic(tunnel.ifindex))
        }

    @property
    def total(self) -> int:
        """How many packets were dropped so far, explained or not."""
        return self._tally.total + self.lost().overflow

    def _count(self, drop: Drop, fresh: int) -> Identity | None:
        if is_quiet(drop):
            return None
        table = self._tables.of(drop.netns)
        seen = tuple_of(drop, table.tables if table else Tables())
        if drop.on_tunnel and not self._wanted.admits(seen):
            return None
        iif = table.link_name(drop.ifindex) if table else None
        return self._tally.add(
            drop,
            self._judge(drop, table, iif),
            seen,
            count=fresh,
            iif=iif,
            namespace=table.namespace.name if table else None,
        )

    def _judge(self, drop: Drop, table: TunnelTable | None, iif: str | None) -> Verdict:
        if table is None:
            return explain(Case(drop, None, iif=iif))
        if table.namespace.inode not in self._hosts:
            self._hosts[table.namespace.inode] = Host(table)
        host = self._hosts[table.namespace.inode]
        case = Case(drop, table.tables, iif=iif, ip=table.namespace.ip, host=host)
        case = replace(case, traffic=host.traffic(c.tunnel for c in case.candidates))
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
    pending: dict[Identity, None] = {}
    shown: set[Identity] = set()
    lost = Lost()
    due = time.monotonic() + TICK

    def show(identities: Iterable[Identity]) -> None:
        for identity in identities:
            output.show(identity, explainer.reports[identity])
            shown.add(identity)

    done = False
    while not done:
        rung = watch.wait(explainer.bells(), due - time.monotonic())
        if rung:
            time.sleep(BURST)
        # Asked before the look, so that nothing which came before the end is left out.
        done = watch.stopped
        pending |= dict.fromkeys(explainer.observe())
        done = done or (limit is not None and explainer.total >= limit)
        if done or time.monotonic() >= due:
            show(pending)
            pending.clear()
            due = time.monotonic() + TICK
            lost, before = explainer.lost(), lost
            for sentence in lost.sentences() if lost != before else ():
                tell(sentence)
        else:
            new = [identity for identity in pending if identity not in shown]
            show(new)
            for identity in new:
                del pending[identity]
    output.finish(explainer.reports.values(), explainer.heard())
