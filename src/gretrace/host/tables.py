# SPDX-License-Identifier: GPL-2.0-only
"""The tunnel tables of the namespaces that are watched, as these come and go."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from gretrace.errors import PrerequisiteError
from gretrace.host.namespaces import PROC, Departures, Namespace, all_namespaces, is_there
from gretrace.host.tunnels import TunnelTable

# How often a namespace is looked for that was not found, in seconds.
SEARCH = 1.0
# Of the time, what searches may take in the long run; and how long, in seconds, at once.
SHARE, AT_ONCE = 0.1, 0.5


class Process:
    """Rings when the process has ended by which a namespace was found."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """Return a descriptor that is readable from then on."""
        return self._fd

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


class TunnelTables:
    """The tables of the namespaces that are watched, each opened when it is first needed.

    The sockets of a table keep its namespace alive, with all its devices. So a table is closed
    once nobody else has the namespace any more, as far as names and processes tell.
    """

    def __init__(
        self,
        namespaces: Iterable[Namespace],
        *,
        find_more: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._namespaces = {namespace.inode: namespace for namespace in namespaces}
        self._find_more, self._clock = find_more, clock
        self._tables: dict[int, TunnelTable] = {}
        self._processes: dict[int, Process] = {}
        self._departures = Departures()
        # When those that were not found, or could not be entered, were looked for last.
        self._missed: dict[tuple[int, int], float] = {}
        # What searches took, in seconds, of which time pays off its share.
        self._debt, self._paid_at = 0.0, clock()

    def open(self, namespace: Namespace) -> TunnelTable:
        """Open the table of a namespace.

        Raises PrerequisiteError when it cannot be entered.
        """
        table = self._tables[namespace.inode] = TunnelTable(namespace)
        self._attend(namespace)
        return table

    def of(self, inode: int, cookie: int = 0) -> TunnelTable | None:
        """Return the table of a namespace; None when it cannot be found or entered (any more).

        The inode of one that is gone is used again at once. `cookie` tells them apart (see
        Links.cookie()); 0: not known.
        """
        table = self._tables.get(inode) or self._find(inode, cookie)
        if table and cookie and table.cookie and cookie != table.cookie:
            return None
        return table

    def opened(self) -> Sequence[TunnelTable]:
        """Return the tables that are open by now."""
        return list(self._tables.values())

    def readables(self) -> list[TunnelTable | Process | Departures]:
        """Return what can be read when a link has changed, or a namespace may be gone."""
        return [*self._tables.values(), *self._processes.values(), self._departures]

    def departed(self) -> list[TunnelTable]:
        """Return the open tables that keep alive what nobody else has.

        What else was counted there is to be judged before they are let go of.
        """
        self._departures.drain()
        missing = [table for table in self._tables.values() if not is_there(table.namespace)]
        if not missing:
            return []
        # The process or the name by which it was found need not be the only one.
        found = {namespace.inode: namespace for namespace in all_namespaces()}
        for table in missing:
            if table.namespace.inode in found:
                table.namespace = found[table.namespace.inode]
                self._attend(table.namespace)
        return [table for table in missing if table.namespace.inode not in found]

    def let_go(self, tables: Iterable[TunnelTable]) -> None:
        """Close tables; their namespaces are looked for again when they are asked for."""
        for table in tables:
            inode = table.namespace.inode
            self._tables.pop(inode).close()
            self._ignore(inode)
            self._namespaces.pop(inode, None)

    def are_all(self, tables: Sequence[TunnelTable]) -> bool:
        """Whether nothing is left to be watched once these are closed."""
        return bool(tables) and not self._find_more and len(tables) == len(self._tables)

    def close(self) -> None:
        """Close all tables."""
        self.let_go(self.opened())
        self._departures.close()

    def _find(self, inode: int, cookie: int) -> TunnelTable | None:
        now = self._clock()
        if now < self._missed.get((inode, cookie), -SEARCH) + SEARCH:
            return None
        table = self._enter(inode)
        if table or not self._find_more:
            return table
        self._debt = max(0.0, self._debt - SHARE * (now - self._paid_at))
        self._paid_at = now
        if self._debt > AT_ONCE:
            return None
        self._namespaces = {namespace.inode: namespace for namespace in all_namespaces()}
        self._missed = {key: at for key, at in self._missed.items() if now < at + SEARCH}
        self._debt += self._clock() - now
        table = self._enter(inode)
        if table is None:
            self._missed[inode, cookie] = now
        return table

    def _enter(self, inode: int) -> TunnelTable | None:
        try:
            return self.open(self._namespaces[inode])
        except (KeyError, OSError, PrerequisiteError):
            # What the path led to may be another by now.
            self._namespaces.pop(inode, None)
            return None

    def _attend(self, namespace: Namespace) -> None:
        """Hear of the end of the process that a namespace was found by."""
        self._ignore(namespace.inode)
        pid = namespace.path.parent.parent
        if pid.parent == PROC and pid != Path("/proc/self"):
            # Without (before v5.3), or gone already: the next look tells.
            with suppress(OSError):
                self._processes[namespace.inode] = Process(os.pidfd_open(int(pid.name)))

    def _ignore(self, inode: int) -> None:
        process = self._processes.pop(inode, None)
        if process:
            process.close()
