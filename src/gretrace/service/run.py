# SPDX-License-Identifier: GPL-2.0-only
"""What goes on for weeks: look at the drops as they come, and at all else when it is asked for.

One thread reads the kernel. Whoever scrapes waits for it, and it reads once a second at most.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

from gretrace.engine import DropTable
from gretrace.errors import GretraceError
from gretrace.explain.drops import BURST, PAUSE, REST, TICK, Explainer
from gretrace.explain.losses import Losses
from gretrace.host.census import Census, Counted, take_census
from gretrace.host.namespaces import Namespace, entered
from gretrace.host.qdiscs import devices_with_clsact
from gretrace.keepalive import responder
from gretrace.live import Watch
from gretrace.model import Responder
from gretrace.service.ledger import Ledger, Place
from gretrace.service.metrics import Exposition, State
from gretrace.service.page import Page
from gretrace.service.places import Places, label_of
from gretrace.service.textfile import Textfile


class Service:
    """Counts drops by cause and tunnel, and tells how all tunnels are.

    `find` returns the namespaces whose tunnels are told of; `build` says what runs.
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
    ) -> None:
        self._explainer, self._drops, self._ledger = explainer, drops, ledger
        self._places, self._find = places, find
        self._build, self._capacity = build, capacity
        self._exposition = Exposition()
        self._looked, self._judging = 0, 0.0
        self._heard = _Heard()

    def stay(
        self,
        watch: Watch,
        page: Page,
        textfile: Textfile | None,
        tell: Callable[[str], None],
    ) -> None:
        """Go on until `watch` says stop, or until the only namespace is gone.

        `tell` is told, in a sentence, of everything that was lost.
        """
        explainer = self._explainer
        losses = Losses(tell, lambda: explainer.reasons)
        self.look()
        self._heard.note(self._places.take(self._census()))
        due, done = time.monotonic() + TICK, False
        while not done:
            ready = watch.wait([*explainer.readables(), page], due - time.monotonic())
            if ready - {page.fileno()}:
                watch.wait((page,), max(BURST, explainer.due(PAUSE) - time.monotonic()))
            # Asked before the look, so that nothing which came before the end is left out.
            departed = explainer.tables.departed()
            done = watch.stopped or explainer.tables.are_all(departed)
            self.look(overdue=lambda: watch.overdue)
            for sentence in explainer.faults.sentences():
                tell(sentence)
            if not done:
                self._publish(page, textfile, tell)
            due = max(time.monotonic() + TICK, explainer.due(REST))
            losses.note(explainer.lost(), is_last=done)
            for table in departed if done else ():
                tell(table.namespace.gone)
            explainer.tables.let_go(departed)

    def _publish(self, page: Page, textfile: Textfile | None, tell: Callable[[str], None]) -> None:
        """Make what is due, of one reading."""
        is_due = textfile is not None and time.monotonic() >= textfile.due
        if not page.is_wanted() and not is_due:
            return
        text = self._exposition.text(self.state())
        page.publish(text)
        if textfile and is_due:
            before = textfile.trouble
            textfile.put(text)
            # Told once, not with each attempt.
            if textfile.trouble and textfile.trouble != before:
                tell(textfile.trouble)

    def look(self, overdue: Callable[[], bool] = lambda: False) -> None:
        """Add up the drops since the last look."""
        begin = time.monotonic()
        for _ in self._explainer.observe(overdue=overdue):
            pass
        self._looked += 1
        self._judging += time.monotonic() - begin

    def state(self) -> State:
        """Read all that is told of; the drops are those of the last look."""
        for _ in self._explainer.swallowed():
            pass
        census = self._census()
        tunnels = self._places.take(census)
        self._heard.note(tunnels)
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
        )

    def _census(self) -> Census:
        return take_census(self._find())


class _Heard:
    """When each tunnel was seen to have received."""

    def __init__(self) -> None:
        self._received: dict[Place, int] | None = None
        self.times: dict[Place, int] = {}  # CLOCK_REALTIME, in nanoseconds

    def note(self, tunnels: Mapping[Place, Counted]) -> None:
        """Compare the counters with those of the last time."""
        now = time.time_ns()
        received = {place: each.counters.get("rx_packets", 0) for place, each in tunnels.items()}
        before = received if self._received is None else self._received
        times = {place: at for place, at in self.times.items() if place in received}
        # A tunnel that was made anew begins at nought.
        times |= {place: now for place, count in received.items() if count != before.get(place, 0)}
        self.times, self._received = times, received


def _responders(
    census: Census, tunnels: Mapping[Place, Counted]
) -> Iterator[tuple[Place, Responder]]:
    """Yield the counters of each tunnel's responder."""
    for namespace, counted in census.namespaces:
        if not counted:
            continue
        label = label_of(namespace)
        mine = {e.tunnel.ifindex: place for place, e in tunnels.items() if place[0] == label}
        # It may be gone by now.
        with suppress(OSError, GretraceError), entered(namespace):
            clsact = devices_with_clsact()
            for each in counted:
                ifindex = each.tunnel.ifindex
                if ifindex not in mine or not (each.xdp_program or ifindex in clsact):
                    continue
                if found := responder.read(ifindex):
                    yield mine[ifindex], found
