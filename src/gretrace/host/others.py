# SPDX-License-Identifier: GPL-2.0-only
"""The tunnels of all other network namespaces, as far as there is time and room for them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gretrace.commands import Netns
from gretrace.host.census import read_links
from gretrace.host.gre_link import tunnels_in
from gretrace.host.namespaces import Namespace, all_namespaces
from gretrace.kernel.lookup import Tables
from gretrace.kernel.surroundings import Elsewhere

# Whoever may make a namespace may make thousands, with thousands of links each: so many seconds
# are spent on all of them, and so many links are read.
PATIENCE, LINKS_AT_MOST = 1.0, 20_000
# What was read is kept for so many times as long as it took: four fifths of the time at least are
# left for all else.
REST = 4


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one look at all namespaces but one has found."""

    until: float  # when it is too old
    besides: int  # inode of the namespace that was not looked into, as its own table is there
    found: Sequence[tuple[int, Netns, Tables]]  # by inode; those that have tunnels
    left_out: int

    def than(self, inode: int) -> Elsewhere:
        there = [(netns, tables) for other, netns, tables in self.found if other != inode]
        return Elsewhere(there, self.left_out + (self.besides != inode))


class OtherNamespaces:
    """The tunnels of namespaces, read when they are asked for.

    Those that have a name, which only root can give, are read first.
    """

    def __init__(
        self,
        stopped: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stopped, self._clock = stopped, clock
        self._kept: _Reading | None = None

    def than(self, namespace: Namespace) -> Elsewhere:
        """Return what is elsewhere than in a namespace, and how many namespaces are left out."""
        if self._kept is None or self._clock() >= self._kept.until:
            self._kept = self._read(namespace)
        return self._kept.than(namespace.inode)

    def _read(self, own: Namespace) -> _Reading:
        begin = self._clock()
        others = [each for each in all_namespaces() if each.inode != own.inode]
        found: list[tuple[int, Netns, Tables]] = []
        left_out = 0
        for namespace, links in read_links(others, LINKS_AT_MOST, lambda: self._is_late(begin)):
            if links is None:
                left_out += 1
            elif tunnels := tunnels_in(links, namespace.inode):
                found.append((namespace.inode, namespace.reached, Tables(tunnels)))
        end = self._clock()
        return _Reading(end + REST * (end - begin), own.inode, found, left_out)

    def _is_late(self, begin: float) -> bool:
        return self._clock() >= begin + PATIENCE or self._stopped()
