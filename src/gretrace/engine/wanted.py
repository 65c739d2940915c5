# SPDX-License-Identifier: GPL-2.0-only
"""Which packets the user asked for, in the kernel's terms and in ours."""

from dataclasses import dataclass

from gretrace.engine.contract import FilterMatch, TupleFilter
from gretrace.model import Address, Tuple


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter; None admits any. `no_key` admits only packets without a key."""

    remote: Address | None = None
    local: Address | None = None
    key: int | None = None
    no_key: bool = False
    ifindex: int | None = None
    netns: int | None = None

    @property
    def is_choosy(self) -> bool:
        """Whether it admits only some of the packets of a namespace."""
        chosen = (self.remote, self.local, self.key, self.ifindex)
        return self.no_key or any(value is not None for value in chosen)

    def to_record(self) -> TupleFilter:
        """Build struct tuple_filter, the form that runs in the kernel."""
        record = TupleFilter()
        if self.netns is not None:
            record.match |= FilterMatch.NETNS
            record.netns = self.netns
        if self.ifindex is not None:
            record.match |= FilterMatch.IFINDEX
            record.ifindex = self.ifindex
        if self.remote is not None:
            record.match |= FilterMatch.REMOTE
            record.remote[: len(self.remote.packed)] = self.remote.packed
        if self.local is not None:
            record.match |= FilterMatch.LOCAL
            record.local[: len(self.local.packed)] = self.local.packed
        if self.key is not None:
            record.match |= FilterMatch.KEY
            record.gre_key = self.key
        if self.no_key:
            record.match |= FilterMatch.NO_KEY
        return record

    def admits(self, seen: Tuple) -> bool:
        """Decide on a packet of a tunnel, whose outer header the kernel's filter could not see."""
        return (
            self.remote in (None, seen.remote)
            and self.local in (None, seen.local)
            and self.key in (None, seen.key)
            and not (self.no_key and seen.key is not None)
        )
