# SPDX-License-Identifier: GPL-2.0-only
"""One hash table of tunnels, and the kernel's way through it.

What a pass would find is kept ready by what it compares, so that a lookup costs the same
among ten tunnels and among ten thousand; `walk` goes the kernel's own way instead.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain
from typing import ClassVar

from gretrace.kernel.lookup.terms import Candidate, Match, Mismatch, Pass, Query, Step
from gretrace.model import Tunnel


class Table(ABC):
    """The tunnels among which one lookup chooses, those of one namespace.

    `kind` is what the table is called: the kernel has one for each kind of IPv4 tunnel,
    and one for all kinds of IPv6 tunnel.
    """

    PASSES: ClassVar = (Pass.EXACT, Pass.REMOTE, Pass.LOCAL, Pass.KEY)

    def __init__(self, kind: str, tunnels: Iterable[Tunnel]) -> None:
        self.kind = kind
        # A tunnel is put at the head of its bucket: the newest is met first.
        newest_first = sorted(tunnels, key=lambda tunnel: tunnel.ifindex, reverse=True)
        self._buckets: dict[int, list[Tunnel]] = defaultdict(list)
        self._found: dict[Hashable, list[Tunnel]] = defaultdict(list)
        self._external = [t for t in newest_first if t.external and t.up]
        self._fallback = next((t for t in newest_first if t.fallback and t.up), None)
        for tunnel in newest_first:
            bucket = self._bucket_of(tunnel)
            self._buckets[bucket].append(tunnel)
            if tunnel.up:
                for way in self._found_by(tunnel):
                    self._found[bucket, *way].append(tunnel)

    def lookup(self, query: Query) -> Match | None:
        """Return what the kernel would choose; None where it finds nothing."""
        best: Match | None = None
        for decided_by in self.PASSES:
            for tunnel in self._fitting(decided_by, query):
                match = Match(tunnel, decided_by)
                if self._score(tunnel, query) == 0:
                    return match
                if best is None or self._replaces(match, best, query):
                    best = match
        return best or self._last_resort(query)

    def walk(self, query: Query) -> list[Step]:
        """Return every comparison that the kernel makes on its way through the buckets."""
        steps: list[Step] = []
        for decided_by in self.PASSES:
            bucket = self._bucket_for(decided_by, query)
            met = []
            for tunnel in self._buckets.get(bucket, ()):
                mismatches = tuple(self._compare(decided_by, tunnel, query))
                met.append(Candidate(tunnel, mismatches))
                if not mismatches and self._score(tunnel, query) == 0:
                    return [*steps, Step(decided_by, self.kind, bucket, tuple(met))]
            steps.append(Step(decided_by, self.kind, bucket, tuple(met)))
        return steps

    def _fitting(self, decided_by: Pass, query: Query) -> Sequence[Tunnel]:
        bucket = self._bucket_for(decided_by, query)
        found = [
            tunnels
            for way in self._finds_by(decided_by, query)
            if (tunnels := self._found.get((bucket, *way)))
        ]
        if len(found) < 2:
            return found[0] if found else ()
        return sorted(chain(*found), key=lambda tunnel: tunnel.ifindex, reverse=True)

    @abstractmethod
    def _bucket_of(self, tunnel: Tunnel) -> int:
        """Return the bucket in which the kernel keeps a tunnel."""

    @abstractmethod
    def _bucket_for(self, decided_by: Pass, query: Query) -> int:
        """Return the bucket through which a pass goes."""

    @abstractmethod
    def _compare(self, decided_by: Pass, tunnel: Tunnel, query: Query) -> Iterator[Mismatch]:
        """Tell why a pass passes by a tunnel of its bucket; nothing where it does not."""

    @abstractmethod
    def _found_by(self, tunnel: Tunnel) -> Iterable[tuple[Hashable, ...]]:
        """Return all by which a pass can find a tunnel, so as `_finds_by` asks for it."""

    @abstractmethod
    def _finds_by(self, decided_by: Pass, query: Query) -> Iterable[tuple[Hashable, ...]]:
        """Return what a pass looks for, so that it finds exactly what `_compare` lets pass."""

    @abstractmethod
    def _score(self, tunnel: Tunnel, query: Query) -> int:
        """Tell how far a tunnel that fits is from ending the lookup; 0 ends it."""

    @abstractmethod
    def _replaces(self, match: Match, best: Match, query: Query) -> bool:
        """Whether the kernel prefers a tunnel that fits to the one that it holds already."""

    @abstractmethod
    def _last_resort(self, query: Query) -> Match | None:
        """Return what takes a packet that nothing fits: collect_md, or the fallback."""
