# SPDX-License-Identifier: GPL-2.0-only
"""Troubles as events: one when a cause begins at a tunnel, one when it has ended.

It has ended when nothing was dropped for a while, and the tunnel, if one is concerned, has
received since; or when nothing was for an hour. The more often it comes back, the longer is a
while: a fault that comes and goes shall not fill a journal.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gretrace.model import Report
from gretrace.service.ledger import NOWHERE, Entry, Place

# Seconds without a drop; doubled each time that it comes back.
QUIET, QUIET_AT_MOST = 30.0, 3600.0
# So many are known at a time; there are no more tunnels than the ledger has entries.
AT_MOST = 1 << 14


@dataclass(slots=True)
class Trouble:
    """A cause at a tunnel, since it began."""

    entry: Entry
    report: Report  # the first
    before: int  # packets that were counted before it began
    count: int  # packets in all
    began: float  # by the clock of the caller, as all times here
    dropped: float  # last
    quiet: float = QUIET
    is_open: bool = True
    is_mended: bool = False  # it has ended, and the tunnel was seen to receive
    # What the tunnel had received when it was looked at first after the last drop.
    received: int | None = None

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.entry[1], self.entry[2]


class Troubles:
    """Those that are open, and of those that ended, how often they came."""

    def __init__(self, at_most: int = AT_MOST) -> None:
        self._at_most = at_most
        self._known: dict[Entry, Trouble] = {}

    def note(self, entry: Entry, report: Report, now: float) -> Trouble | None:
        """Take a report whose count has grown; return what begins with it, if anything does."""
        known = self._known.get(entry)
        if known and known.is_open:
            known.count = report.count
            known.dropped, known.received = now, None
            return None
        quiet = QUIET
        if known and now - known.dropped < QUIET_AT_MOST:
            quiet = min(2 * known.quiet, QUIET_AT_MOST)
        elif known is None and len(self._known) >= self._at_most:
            self._known = {e: t for e, t in self._known.items() if t.is_open}
            if len(self._known) >= self._at_most:
                return None
        before = known.count if known else 0
        begun = Trouble(entry, report, before, report.count, now, now, quiet)
        self._known[entry] = begun
        return begun

    def is_due(self, now: float) -> bool:
        """Whether any may have ended, so that it is worth to read what tunnels have received."""
        return any(t.is_open and now - t.dropped >= t.quiet for t in self._known.values())

    def ended(self, received: Mapping[Place, int], now: float) -> Iterator[Trouble]:
        """Yield those that have ended, by what each tunnel that is there has received so far.

        One whose tunnel is gone has ended, too.
        """
        for trouble in [t for t in self._known.values() if t.is_open]:
            count = received.get(trouble.place)
            if trouble.received is None:
                trouble.received = count
            if now - trouble.dropped < trouble.quiet:
                continue
            trouble.is_mended = count is not None and count != trouble.received
            is_left = trouble.place == NOWHERE or count is None
            if is_left or trouble.is_mended or now - trouble.dropped >= QUIET_AT_MOST:
                trouble.is_open = False
                yield trouble
