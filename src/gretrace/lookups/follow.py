# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's tunnel lookups as they happen: behind `lookup --follow`."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from gretrace.engine import LOOKUP_WINDOW, LookupsLost, LookupTable
from gretrace.engine.decode import decode_decision, decode_lookup_entry
from gretrace.host.namespaces import Namespace
from gretrace.host.tables import TunnelTables
from gretrace.kernel.lookup import Answer, Tables
from gretrace.live import Readable, Watch
from gretrace.lookups.predict import judge
from gretrace.model import Decision
from gretrace.render.door import Shown

# How often lost and uncounted packets are told, and the longest wait for a change, in seconds.
TICK = 1.0
TIME_SIZE = 8
# How often a growth of what was lost is told, in seconds.
PAUSE = 60.0
# So many rendered answers are kept. Strangers can make any number of them.
PREPARED_AT_MOST = 1 << 16


class Output(Protocol):
    """Where answers go. What does not change from packet to packet is prepared once."""

    def prepare(self, answer: Answer) -> Shown:
        """Render all of an answer but its time."""

    def show(self, time_ns: int, prepared: Shown) -> None:
        """Show the answer to one packet."""

    def flush(self) -> None:
        """Let the reader have what was shown."""

    def finish(self, counted: list[tuple[Answer, int]]) -> None:
        """Show the end: every answer with the number of packets that got it."""


class Follower:
    """Turns what the kernel decided since the last look into answers."""

    def __init__(
        self, lookups: LookupTable, tables: TunnelTables, prepare: Callable[[Answer], Shown]
    ) -> None:
        self._lookups, self._tables, self._prepare = lookups, tables, prepare
        self._clock_offset = time.time_ns() - time.monotonic_ns()
        # By all of an event but its time: a flood is of few kinds.
        self._prepared: dict[bytes, Shown] = {}

    def observe(self) -> Iterator[tuple[int, Shown]]:
        """Yield the time (CLOCK_REALTIME, ns) and the prepared answer of each new decision."""
        events = self._lookups.take()
        for table in self._tables.opened():
            if table.take_notice():
                self._prepared.clear()
        for event in events:
            identity = event[TIME_SIZE:]
            prepared = self._prepared.get(identity)
            if prepared is None:
                if len(self._prepared) >= PREPARED_AT_MOST:
                    self._prepared.clear()
                decision = decode_decision(event, self._clock_offset)
                prepared = self._prepared[identity] = self._prepare(self._answer(decision))
            moment = int.from_bytes(event[:TIME_SIZE], sys.byteorder) + self._clock_offset
            yield moment, prepared
        for table in self._tables.opened():
            table.settle()

    def let_go(self) -> list[Namespace] | None:
        """Let go of namespaces that nobody else has; return them where they were all."""
        departed = self._tables.departed()
        ends = self._tables.are_all(departed)
        self._tables.let_go(departed)
        return [table.namespace for table in departed] if ends else None

    def readables(self, *, busy: bool) -> list[Readable]:
        """Return what to wait for. While packets come, the next look is a matter of time."""
        return [*self._tables.readables(), *(() if busy else (self._lookups,))]

    def lost(self) -> LookupsLost:
        """Return what was not seen, or not shown one by one."""
        return self._lookups.lost()

    def counted(self) -> list[tuple[Answer, int]]:
        """Return every answer with the exact number of packets that got it, the most first."""
        decisions = [
            decode_lookup_entry(key, stats, self._clock_offset)
            for key, stats in self._lookups.entries()
        ]
        decisions.sort(key=lambda decision: -decision.count)
        return [(self._answer(decision), decision.count) for decision in decisions]

    def _answer(self, decision: Decision) -> Answer:
        table = self._tables.of(decision.netns, decision.netns_cookie)
        if table is None:
            return judge(decision, Tables(), None)
        answer = judge(decision, table.tables, table)
        if answer.disagreement and table.before is not None:
            # The packet may have come just before the tunnels changed.
            earlier = judge(decision, table.before, table)
            return answer if earlier.disagreement else earlier
        return answer


def follow(
    follower: Follower,
    watch: Watch,
    output: Output,
    *,
    limit: int | None,
    tell: Callable[[str], None],
) -> None:
    """Show decisions until `watch` says stop, or `limit` of them were shown.

    `tell` is told, in a sentence, of everything that was lost or only counted.
    """
    shown = 0
    busy = False
    losses = _Losses(tell)
    due = time.monotonic() + TICK
    while not watch.stopped and (limit is None or shown < limit):
        watch.wait(follower.readables(busy=busy), LOOKUP_WINDOW if busy else TICK)
        busy = False
        for time_ns, prepared in follower.observe():
            if watch.overdue or (limit is not None and shown >= limit):
                break
            output.show(time_ns, prepared)
            shown += 1
            busy = True
        output.flush()
        gone = follower.let_go()
        for namespace in gone or ():
            tell(namespace.gone)
        if gone:
            break
        if time.monotonic() >= due or watch.stopped:
            due = time.monotonic() + TICK
            losses.note(follower.lost())
    losses.note(follower.lost(), is_last=True)
    output.finish(follower.counted())


class _Losses:
    """Tells what was lost or not shown: at once, then at most once a PAUSE, and at the end."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told = LookupsLost()
        self._told_at = -PAUSE

    def note(self, lost: LookupsLost, *, is_last: bool = False) -> None:
        """Tell what was lost so far, if there is more of it and it is time."""
        now = time.monotonic()
        if lost == self._told or not (is_last or now - self._told_at >= PAUSE):
            return
        before, self._told, self._told_at = self._told, lost, now
        if replace(lost, not_shown=0) != replace(before, not_shown=0):
            for sentence in lost.sentences():
                self._tell(sentence)
        if lost.not_shown > before.not_shown:
            self._tell(
                f"{lost.not_shown} packets so far were counted, but came too fast to be shown"
            )
