# SPDX-License-Identifier: GPL-2.0-only
"""What ip_tunnel_lookup() and ip6gre_tunnel_lookup() answered, whichever engine watches them."""

import struct
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, closing

from gretrace.engine import LookupsLost
from gretrace.engine.contract import (
    Generation,
    GreTuple,
    LookupKey,
    LookupMark,
    LookupStats,
    LookupTotals,
)
from gretrace.engine.grace import Grace
from gretrace.engine.maps import TableReader, read_element, write_element
from gretrace.engine.probes import LoadedProbe

# Of so many kinds that fit, the table is emptied when it holds one: a flood fills the rest
# before the next look.
CROWDED = 4
_UINT32 = 1 << 32
_MARKS = LookupKey.tuple.offset + GreTuple.marks.offset
# Count, first and last time, name of the tunnel.
_STATS = struct.Struct("=QQQ16s")


class Sums:
    """Lookups by kind, added up; of too many kinds the longest idle are let go of.

    A scan is of kinds with one packet each. They go first, so that what is seen again and again
    is not lost in them, before or after.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._once: OrderedDict[bytes, bytes] = OrderedDict()
        self._more: OrderedDict[bytes, bytes] = OrderedDict()
        self.let_go = 0  # packets of kinds that are no longer kept

    def add(self, key: bytes, stats: bytes) -> None:
        """Add a struct lookup_stats to what is known of its kind."""
        known = self._more.pop(key, None) or self._once.pop(key, None)
        whole = join(known, stats) if known else stats
        (self._more if count_of(whole) > 1 else self._once)[key] = whole
        if len(self._once) + len(self._more) > self._at_most:
            mostly_once = len(self._once) > self._at_most // 2
            _, gone = (self._once if mostly_once else self._more).popitem(last=False)
            self.let_go += count_of(gone)

    def items(self) -> dict[bytes, bytes]:
        """Return what is kept, by kind."""
        return {**self._more, **self._once}


class Lookups:
    """A LookupTable.

    Kinds are taken out of the kernel's table by generations, as those of drops are.
    """

    def __init__(self, probe: LoadedProbe, capacity: int) -> None:
        self._probe = probe
        self._crowded = max(1, capacity // CROWDED)
        self._generation = 0
        self._sums = Sums(capacity)
        with ExitStack() as stack:
            stack.enter_context(closing(probe))
            self._lookups = TableReader(probe.map_fd("lookups"), LookupKey, LookupStats)
            self._totals = probe.map_fd("totals")
            self._generations = probe.map_fd("generations")
            self._decisions = probe.open_ring("decisions", 1 << 18)
            self._grace = stack.enter_context(closing(Grace()))
            probe.attach()
            self._held = stack.pop_all()

    @property
    def watches_ipv6(self) -> bool:
        """Whether GRE over IPv6 is watched."""
        return self._probe.has("count_lookup6")

    def fileno(self) -> int:
        """Return a descriptor that is readable when there are events."""
        return self._decisions.fileno()

    def take(self) -> list[bytes]:
        """Return every struct lookup_event since the last call, and make room in the kernel."""
        taken = self._decisions.take()
        totals = self._read_totals() if taken else None
        if totals and totals.kinds > self._crowded and totals.generation == self._generation:
            self._take_out()
        return taken

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Read every (struct lookup_key, struct lookup_stats) since the start."""
        kept = self._sums.items()
        for key, stats in self._read():
            kept[key] = join(kept[key], stats) if key in kept else stats
        return iter(kept.items())

    def lost(self) -> LookupsLost:
        """Read what was lost or left out so far."""
        totals = self._read_totals()
        ring_full = totals.ring_full + self._decisions.lost
        overflow = totals.overflow + self._sums.let_go
        return LookupsLost(overflow, ring_full, self._probe.missed(), totals.not_shown)

    def close(self) -> None:
        """Detach and free everything; a second time it does nothing."""
        self._held.close()

    def _read_totals(self) -> LookupTotals:
        totals = LookupTotals()
        read_element(self._totals, totals)
        return totals

    def _read(self) -> list[tuple[bytes, bytes]]:
        """Read the entries of the present generation, without its mark."""
        parity = self._generation % 2
        return [
            (_unmarked(key), stats)
            for key, stats in self._lookups.items()
            if _parity(key) == parity
        ]

    def _take_out(self) -> None:
        """Begin a generation, and add up all that was counted in the one before."""
        following = (self._generation + 1) % _UINT32
        write_element(self._generations, Generation(following))
        self._grace.wait()
        parity = self._generation % 2
        entries = [entry for entry in self._lookups.items() if _parity(entry[0]) == parity]
        self._lookups.remove([key for key, _ in entries])
        self._generation = following
        for key, stats in entries:
            self._sums.add(_unmarked(key), stats)


def join(known: bytes, stats: bytes) -> bytes:
    """Add a struct lookup_stats to an earlier one of its kind."""
    count, first_ns, last_ns, name = _STATS.unpack(known)
    more, _, latest_ns, _ = _STATS.unpack(stats)
    return _STATS.pack(count + more, first_ns, max(last_ns, latest_ns), name)


def count_of(stats: bytes) -> int:
    """Return the packets of a struct lookup_stats."""
    return int.from_bytes(stats[:8], sys.byteorder)


def _marks(key: bytes) -> int:
    return int.from_bytes(key[_MARKS : _MARKS + 2], sys.byteorder)


def _parity(key: bytes) -> int:
    """Return the last bit of the number of a struct lookup_key's generation."""
    return 1 if _marks(key) & LookupMark.ODD else 0


def _unmarked(key: bytes) -> bytes:
    """Return a struct lookup_key as events have it."""
    marks = (_marks(key) & ~LookupMark.ODD).to_bytes(2, sys.byteorder)
    return key[:_MARKS] + marks + key[_MARKS + 2 :]
