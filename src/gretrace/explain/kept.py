# SPDX-License-Identifier: GPL-2.0-only
"""The kinds of packets of a capture that were refused, as many as are kept apart."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import TypeAlias

from gretrace.model import Drop

# As many as live, unless told otherwise.
KINDS = 1 << 14
# So many bytes of what a packet carries are kept, as of a packet that is seen live.
SAMPLE = 256

# A drop, and the interface of its packets, if it is known.
Seen: TypeAlias = tuple[Drop, str | None]


class Kept:
    """Drops by kind, added up; of too many kinds the longest idle are let go of.

    A flood of forged packets is of kinds with one packet each. They go first, so that what is
    seen again and again is not lost in them, before or after.
    """

    def __init__(self, at_most: int = KINDS) -> None:
        self._at_most = at_most
        self._once: OrderedDict[Hashable, Seen] = OrderedDict()
        self._more: OrderedDict[Hashable, Seen] = OrderedDict()
        self.let_go = 0  # packets of kinds that are no longer kept

    def add(self, kind: Hashable, drop: Drop, iif: str | None) -> None:
        """Count a drop; what is kept of its kind is the latest."""
        known = self._more.pop(kind, None) or self._once.pop(kind, None)
        packet = drop.packet
        if packet and len(packet.payload) > SAMPLE:
            drop = replace(drop, packet=replace(packet, payload=packet.payload[:SAMPLE]))
        if known:
            self._more[kind] = join(known[0], drop), iif
            return
        self._once[kind] = drop, iif
        if len(self._once) + len(self._more) > self._at_most:
            mostly_once = len(self._once) > self._at_most // 2
            _, (gone, _) = (self._once if mostly_once else self._more).popitem(last=False)
            self.let_go += gone.count

    def __iter__(self) -> Iterator[Seen]:
        """Yield what is kept, each kind once."""
        yield from self._more.values()
        yield from self._once.values()


def join(known: Drop, drop: Drop) -> Drop:
    """Add a drop to those of its kind."""
    return replace(
        drop,
        count=known.count + drop.count,
        first_ns=min(known.first_ns, drop.first_ns),
        last_ns=max(known.last_ns, drop.last_ns),
    )
