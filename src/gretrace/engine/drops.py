# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's running count of drops, whichever engine loaded the program."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing

from gretrace.engine import Kind, Lost, Unkept
from gretrace.engine.contract import (
    Death,
    DeathKey,
    DropKey,
    DropMark,
    DropRoom,
    DropStats,
    DropTotals,
    Generation,
    GreTuple,
)
from gretrace.engine.grace import Grace
from gretrace.engine.maps import TableReader, read_element, write_element
from gretrace.engine.probes import LoadedProbe
from gretrace.engine.symbols import Symbols

# Of so many kinds that fit, the table is emptied when it holds one: a flood fills the rest
# before the next look.
CROWDED = 4
# Of so many kinds that fit, one is kept for each place and reason, and a quarter for all of those.
OWN, KEPT = 256, 4
_UINT32 = 1 << 32
_MARKS, _ODD = DropKey.tuple.offset + GreTuple.marks.offset, int(DropMark.ODD)


def room_in(capacity: int) -> DropRoom:
    """Share out a table: a flood of one place and reason leaves the others a part of it."""
    return DropRoom(own=max(1, capacity // OWN), shared=capacity - max(1, capacity // KEPT))


class Drops:
    """A DropTable.

    A kind stays in the kernel's table until that is crowded; then all are taken out, and those
    that go on come back. Each entry is of a generation: after a new one has begun, and every
    program that saw the old one has ended, nothing counts in an old entry any more, so that what
    is read then is all there is (struct generation). To take an entry out while programs may
    count in it would lose drops, or count them for the kind that has the memory next:
    bpf_map_lookup_and_delete_elem() copies and frees an element that a program on another
    processor may have looked up already.
    """

    def __init__(self, probe: LoadedProbe, capacity: int) -> None:
        self._symbols = Symbols()
        self._crowded = capacity // CROWDED
        self._generation = 0
        # The count of each kind of this generation, as far as it was yielded.
        self._counted: dict[bytes, int] = {}
        # Of the last look: what was read, that count of its generation, and whether it is over.
        self._entries: list[tuple[bytes, bytes]] = []
        self._baseline = self._counted
        self._is_last, self._read_last = False, 0
        self._places: dict[int, bytes] = {}
        with ExitStack() as stack:
            stack.enter_context(closing(probe))
            self._drops = TableReader(probe.map_fd("drops"), DropKey, DropStats)
            self._deaths = TableReader(probe.map_fd("deaths"), DeathKey, Death)
            self._totals = probe.map_fd("totals")
            self._generations = probe.map_fd("generations")
            self._wakeup = probe.open_ring("wakeup", 4096)
            self._grace = stack.enter_context(closing(Grace()))
            probe.attach()
            self._missed = probe.missed
            self._held = stack.pop_all()

    def fileno(self) -> int:
        """Return a descriptor that is readable once a new kind of drop was counted."""
        return self._wakeup.fileno()

    def look(self) -> None:
        """Read what was counted, and make the descriptor unreadable again."""
        self._wakeup.take()
        self._entries, self._baseline = self._read(), self._counted
        self._read_last = len(self._entries)
        # What is taken out will not be read again.
        self._is_last = len(self._entries) > self._crowded
        if self._is_last:
            self._entries, self._counted = self._take_out(), {}
        self._name({_location(key) for key, _ in self._entries})

    def kinds(self, *, grown: bool = True) -> Iterator[Kind]:
        """Yield each kind of which drops were counted since it was yielded last, as of the look.

        Without `grown`, those that are known already may be left for later.
        """
        # From the end, as many of them take much room.
        self._entries.reverse()
        while self._entries:
            key, stats = self._entries.pop()
            known, count = self._baseline.get(key), _count_of(stats)
            if count == known or (known is not None and not grown and not self._is_last):
                continue
            self._baseline[key] = count
            yield Kind(key, stats, self._places[_location(key)], count - (known or 0))

    def lost(self) -> Lost:
        """Read what was lost so far."""
        totals = DropTotals()
        read_element(self._totals, totals)
        unkept = [Unkept(b"elsewhere", None, totals.overflow)] if totals.overflow else []
        deaths = [(key, overflow) for key, stats in self._deaths.items()
                  if (overflow := int(Death.from_buffer_copy(stats).overflow))]  # fmt: skip
        self._name({_location(key) for key, _ in deaths})
        for key, overflow in deaths:
            where = DeathKey.from_buffer_copy(key)
            unkept.append(Unkept(self._places[where.location], where.reason, overflow))
        return Lost(tuple(unkept), self._missed(), self._symbols.hidden)

    @property
    def in_table(self) -> int:
        """How many kinds the table held at the last look."""
        return self._read_last

    def close(self) -> None:
        """Detach and free everything; a second time it does nothing."""
        self._held.close()

    def _read(self) -> list[tuple[bytes, bytes]]:
        """Read the entries of the present generation."""
        parity = self._generation % 2
        return [entry for entry in self._drops.items() if _parity(entry[0]) == parity]

    def _take_out(self) -> list[tuple[bytes, bytes]]:
        """Begin a generation, and return all that was counted in the one before."""
        following = (self._generation + 1) % _UINT32
        write_element(self._generations, Generation(following))
        self._grace.wait()
        entries = self._read()
        self._drops.remove([key for key, _ in entries])
        self._generation = following
        return entries

    def _name(self, locations: set[int]) -> None:
        """Have a name for each location, the kernel's own where it gives one."""
        if locations <= self._places.keys():
            return
        named = {_location(key): bytes(Death.from_buffer_copy(stats).place).rstrip(b"\0")
                 for key, stats in self._deaths.items()}  # fmt: skip
        self._places |= {location: name for location, name in named.items() if name}
        unknown = locations - self._places.keys()
        if unknown:
            self._places |= self._symbols.names(unknown)


def _location(key: bytes) -> int:
    """Return the location of a struct drop_key or death_key."""
    return int.from_bytes(key[:8], sys.byteorder)


def _parity(key: bytes) -> int:
    """Return the last bit of the number of a struct drop_key's generation."""
    marks = int.from_bytes(key[_MARKS : _MARKS + 2], sys.byteorder)
    return 1 if marks & _ODD else 0


def _count_of(stats: bytes) -> int:
    return int.from_bytes(stats[:8], sys.byteorder)
