# SPDX-License-Identifier: GPL-2.0-only
"""Drops added up by cause, namespace and tunnel, in room that no stranger can fill.

What packets say (addresses, keys, protocols) makes no entry: a cause is one of a few dozen, and
a tunnel is one that is there. Every packet is in exactly one sum, which only grows.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import TypeAlias

from gretrace.model import Report, Total, Tuple

# Cause, namespace and tunnel as labels; both empty where no tunnel is concerned.
Entry: TypeAlias = tuple[str, str, str]
# A tunnel by its labels.
Place: TypeAlias = tuple[str, str]

NOWHERE: Place = ("", "")
UNKNOWN = Tuple(None, None, None, None, (), None)
# A root in a namespace of its own may make tunnels without end.
ENTRIES_AT_MOST = 1 << 16


class Ledger:
    """Sums of drops, in place of explain.tally.Totals.

    `place_of` gives the labels of a tunnel by the inode of the namespace that dropped, and by its
    name; NOWHERE where that namespace has none of that name.
    """

    def __init__(
        self, place_of: Callable[[int, str], Place], at_most: int = ENTRIES_AT_MOST
    ) -> None:
        self._place_of, self._at_most = place_of, at_most
        self._sums: dict[Entry, int] = {}
        # Packets by cause, of tunnels that are gone or that were too many.
        self._apart: dict[str, int] = {}
        # Tunnels that were missing at the last settling.
        self._missing: set[Place] = set()
        self.packets = 0

    def add(self, told: Report) -> tuple[Entry, Report, bool]:
        """Add drops that were judged, as explain.tally.Sums has it."""
        cause, tunnel, count = told.verdict.cause, told.verdict.finding.tunnel, told.count
        place = NOWHERE if tunnel is None else self._place_of(told.drop.netns, tunnel)
        entry = (cause, *place)
        self.packets += count
        is_new = entry not in self._sums
        # Those of no tunnel are few, and there is always room for them.
        if is_new and place != NOWHERE and len(self._sums) >= self._at_most:
            self._add_apart(cause, count)
            is_new = False
        else:
            self._sums[entry] = self._sums.get(entry, 0) + count
        return entry, replace(told, count=self._sums.get(entry, count)), is_new

    def settle(self, present: Collection[Place]) -> None:
        """Keep entries of the tunnels that are there, and add those of others up by cause.

        To be missing once is not enough: while links come and go the kernel may leave one out.
        """
        missing = {entry[1:] for entry in self._sums} - {NOWHERE} - {*present}
        gone = missing & self._missing
        for entry in [each for each in self._sums if each[1:] in gone]:
            self._add_apart(entry[0], self._sums.pop(entry))
        self._missing = missing - gone

    def __iter__(self) -> Iterator[Total]:
        """Yield the count of each entry, its labels as namespace and tunnel."""
        for (cause, namespace, tunnel), count in self._sums.items():
            yield Total(cause, tunnel, 0, None, namespace, UNKNOWN, count)

    @property
    def apart(self) -> dict[str, int]:
        """Packets by cause of tunnels that are gone, or that there was no entry left for."""
        return dict(self._apart)

    def _add_apart(self, cause: str, count: int) -> None:
        self._apart[cause] = self._apart.get(cause, 0) + count
