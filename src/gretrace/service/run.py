# SPDX-License-Identifier: GPL-2.0-only
"""What goes on for weeks: look at the drops as they come, and at all else when it is asked for.

One thread reads the kernel. Whoever scrapes waits for it, and it reads once a second at most.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import cast

from gretrace.engine import DropTable
from gretrace.errors import GretraceError
from gretrace.explain.drops import BURST, PAUSE, REST, TICK, Explainer
from gretrace.explain.losses import Losses
from gretrace.host.census import Census, Counted, take_census
from gretrace.host.namespaces import Namespace, entered
from gretrace.host.qdiscs import devices_with_clsact
from gretrace.keepalive import responder
from gretrace.keepalive.respond import Attendant
from gretrace.live import Watch
from gretrace.model import Responder
from gretrace.service.chronicle import Chronicle
from gretrace.service.ledger import Entry, Ledger, Place
from gretrace.service.metrics import Exposition, State
from gretrace.service.outlets import Outlets, Settings
from gretrace.service.places import Places, label_of


class Service:
    """Counts drops by cause and tunnel, and tells how all tunnels are.

    `find` returns the namespaces whose tunnels are told of; `build` says what runs; an
    `attendant` has the tunnels' keepalives answered.
    """

    def __init__(
        self,
        explainer: Explainer,
        drops: DropTable,
        ledger: Ledger,
        places: Places,
        find: Callable[[], Iterable[Namespace]],
        *,
        build: Mapping[str, str],
        capacity: int,
        attendant: Attendant | None = None,
    ) -> None:
        self._explainer, self._drops, self._ledger = explainer, drops, ledger
        self._places, self._find = places, find
        self._build, self._capacity = build, capacity
        self._attendant = attendant
        self._exposition = Exposition()
        self._looked, self._judging = 0, 0.0
        self._heard = _Heard()

    def stay(self, watch: Watch, to: Outlets, read: Callable[[], Settings]) -> None:
        """Go on until `watch` says stop, or until the only namespace is gone.

        `read` returns what is to be told where by now, when `watch` says that it has changed.
        """
        explainer = self._explainer
        losses = Losses(to.tell, lambda: explainer.reasons)
        self._survey()
        due, done = time.monotonic() + TICK, False
        while not done:
            waiting = [*explainer.readables(), to.page, *filter(None, [self._attendant])]
            ready = watch.wait(waiting, due - time.monotonic())
            if ready - {to.page.fileno()}:
                watch.wait((to.page,), max(BURST, explainer.due(PAUSE) - time.monotonic()))
            if watch.take_reload():
                to.reload(read)
            if self._attendant:
                self._attendant.attend(to.tell)
            # Asked before the look, so that nothing which came before the end is left out.
            departed = explainer.tables.departed()
            done = watch.stopped or explainer.tables.are_all(departed)
            self._look(to, lambda: watch.overdue)
            for sentence in explainer.faults.sentences():
                to.tell(sentence)
            if not done:
                self._publish(to)
                self._settle(to.chronicle)
            due = max(time.monotonic() + TICK, explainer.due(REST))
            losses.note(explainer.lost(), is_last=done)
            for table in departed if done else ():
                to.tell(table.namespace.gone)
            explainer.tables.let_go(departed)

    def _look(self, to: Outlets, overdue: Callable[[], bool]) -> None:
        """Add up the drops since the last look.

        A scan may be thousands of verdicts, so that whoever waits is served between them.
        """
        begin = time.monotonic()
        for entry, report, _ in self._explainer.observe(overdue=overdue):
            if to.chronicle:
                to.chronicle.note(cast("Entry", entry), report)
            begin += self._publish(to)
        self._looked += 1
        self._judging += time.monotonic() - begin

    def _publish(self, to: Outlets) -> float:
        """Make what is due, of one reading, and return how many seconds that took."""
        begin = time.monotonic()
        to.manager.is_well()
        file_is_due = to.textfile is not None and begin >= to.textfile.due
        if to.page.is_wanted() or file_is_due:
            text = self._exposition.text(self._state(to.chronicle))
            to.page.publish(text)
            if to.textfile and file_is_due:
                before = to.textfile.trouble
                to.textfile.put(text)
                # Told once, not with each attempt.
                if to.textfile.trouble and to.textfile.trouble != before:
                    to.tell(to.textfile.trouble)
        return time.monotonic() - begin

    def _settle(self, chronicle: Chronicle | None) -> None:
        """Write down what has ended."""
        if chronicle and chronicle.is_due():
            _, tunnels = self._survey()
            chronicle.settle({place: _received(each) for place, each in tunnels.items()})

    def _state(self, chronicle: Chronicle | None) -> State:
        """Read all that is told of; the drops are those of the last look."""
        for entry, report, _ in self._explainer.swallowed():
            if chronicle:
                chronicle.note(cast("Entry", entry), report)
        census, tunnels = self._survey()
        if not census.left_out:
            self._ledger.settle(tunnels.keys())
        lost = self._explainer.lost()
        return State(
            build=self._build,
            drops=list(self._ledger),
            apart=self._ledger.apart,
            unkept=lost.overflow,
            unseen=lost.missed,
            tunnels=tunnels,
            left_out=census.left_out,
            responders=dict(_responders(census, tunnels)),
            heard_ns=self._heard.times,
            kinds=self._drops.in_table,
            capacity=self._capacity,
            looked=self._looked,
            judging=self._judging,
            faults=len(self._explainer.faults),
            unwritten=chronicle.lost if chronicle else 0,
        )

    def _survey(self) -> tuple[Census, dict[Place, Counted]]:
        """Read the tunnels as they are now."""
        census = take_census(self._find())
        tunnels = self._places.take(census)
        self._heard.note(tunnels)
        return census, tunnels


class _Heard:
    """When each tunnel was seen to have received."""

    def __init__(self) -> None:
        self._before: dict[Place, int] | None = None
        self.times: dict[Place, int] = {}  # CLOCK_REALTIME, in nanoseconds

    def note(self, tunnels: Mapping[Place, Counted]) -> None:
        """Compare the counters with those of the last time."""
        now = time.time_ns()
        received = {place: _received(each) for place, each in tunnels.items()}
        before = received if self._before is None else self._before
        times = {place: at for place, at in self.times.items() if place in received}
        # A tunnel that was made anew begins at nought.
        times |= {place: now for place, count in received.items() if count != before.get(place, 0)}
        self.times, self._before = times, received


def _received(counted: Counted) -> int:
    return counted.counters.get("rx_packets", 0)


def _responders(
    census: Census, tunnels: Mapping[Place, Counted]
) -> Iterator[tuple[Place, Responder]]:
    """Yield the counters of each tunnel's responder."""
    of: dict[str, dict[int, Place]] = {}
    for place, each in tunnels.items():
        of.setdefault(place[0], {})[each.tunnel.ifindex] = place
    for namespace, counted in census.namespaces:
        mine = of.get(label_of(namespace))
        if not mine:
            continue
        # It may be gone by now.
        with suppress(OSError, GretraceError), entered(namespace):
            clsact = devices_with_clsact()
            for each in counted:
                ifindex = each.tunnel.ifindex
                if ifindex not in mine or not (each.xdp_program or ifindex in clsact):
                    continue
                if found := responder.read(ifindex):
                    yield mine[ifindex], found
