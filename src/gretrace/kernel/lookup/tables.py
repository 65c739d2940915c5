# SPDX-License-Identifier: GPL-2.0-only
"""All hash tables of a network namespace, and which of them a packet is looked up in."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TypeVar, cast

from gretrace.kernel.kinds import KINDS, tables_of
from gretrace.kernel.lookup.ipv4 import Ipv4Table
from gretrace.kernel.lookup.ipv6 import Ipv6Table
from gretrace.kernel.lookup.near import Neighbours
from gretrace.kernel.lookup.table import Table
from gretrace.kernel.lookup.terms import Candidate, Match, Query, Step, Walk
from gretrace.model import Tunnel

Answered = TypeVar("Answered")

# Remembered answers are dropped all at once; a host does not speak to more peers at a time.
REMEMBERED = 4096
_UNKNOWN = object()  # None is an answer


class Tables:
    """The tunnels of one namespace as its kernel sees them.

    Made anew when a tunnel changes; answers are remembered as long as it lives.
    """

    def __init__(self, tunnels: Iterable[Tunnel] = ()) -> None:
        self.tunnels: Sequence[Tunnel] = tuple(tunnels)
        self._tables: dict[str, Table] = {}
        self._matches: dict[Query, Match | None] = {}
        self._candidates: dict[Query, list[Candidate]] = {}

    def by_ifindex(self, ifindex: int) -> Tunnel | None:
        """Return the tunnel that a device is, if it is one."""
        return self._by_ifindex.get(ifindex)

    def lookup(self, query: Query) -> Match | None:
        """Return the tunnel that the kernel would choose; None where it would drop the packet."""
        return _remember(self._matches, query, self._look_up)

    def walk(self, query: Query) -> Walk:
        """Return every comparison of the lookup, in the kernel's order."""
        match = self.lookup(query)
        steps: list[Step] = []
        for table in self._asked(query):
            steps += table.walk(query)
            if match and table.lookup(query):
                break
        return Walk(tuple(steps), match)

    def candidates(self, query: Query) -> list[Candidate]:
        """Return the tunnels that could be meant, nearest first, each with all that does not fit.

        Of thousands only the nearest are returned, and no fallback device.
        """
        return _remember(self._candidates, query, self._neighbours.nearest)

    def _look_up(self, query: Query) -> Match | None:
        return next(filter(None, (t.lookup(query) for t in self._asked(query))), None)

    def _asked(self, query: Query) -> list[Table]:
        version = query.remote.version
        return [self._table(name, version) for name in tables_of(version, query.protocol)]

    def _table(self, name: str, version: int) -> Table:
        if name not in self._tables:
            kinds = {kind.name for kind in KINDS.values() if kind.table == name}
            members = [t for t in self.tunnels if t.kind in kinds and not t.moved]
            make = Ipv4Table if version == 4 else Ipv6Table
            self._tables[name] = make(name, members)
        return self._tables[name]

    @cached_property
    def _neighbours(self) -> Neighbours:
        return Neighbours(self.tunnels)

    @cached_property
    def _by_ifindex(self) -> dict[int, Tunnel]:
        return {tunnel.ifindex: tunnel for tunnel in self.tunnels}


def _remember(
    known: dict[Query, Answered], query: Query, ask: Callable[[Query], Answered]
) -> Answered:
    # A query takes long to hash: once to find it, and once to keep it.
    answer = known.get(query, _UNKNOWN)
    if answer is _UNKNOWN:
        if len(known) >= REMEMBERED:
            known.clear()
        answer = known[query] = ask(query)
    return cast("Answered", answer)
