# SPDX-License-Identifier: GPL-2.0-only
"""The labels by which namespaces and tunnels are known outside: unique, printable, and stable.

The name that `ip netns` gave a namespace, `pid/N` of one that has only processes, nothing for
the caller's own. A name of `ip netns` has no slash.
"""

from collections.abc import Iterator

from gretrace.host.census import Census, Counted
from gretrace.host.namespaces import NAMED, Namespace, is_there
from gretrace.host.tables import TunnelTables
from gretrace.host.tunnels import TunnelTable
from gretrace.kernel.lookup import Tables
from gretrace.model import Tunnel
from gretrace.plain import plain
from gretrace.service.ledger import NOWHERE, Place


def label_of(namespace: Namespace) -> str:
    """Return the label of a namespace."""
    if namespace.name is None:
        return ""
    if namespace.path.parent == NAMED:
        return plain(namespace.path.name)
    return plain(f"pid/{namespace.name}" if namespace.name.isdigit() else namespace.name)


def is_told(tunnel: Tunnel) -> bool:
    """Whether a tunnel is told of: the kernel makes its fallback devices in every namespace."""
    return tunnel.up or not tunnel.fallback


class Places:
    """Finds the place of a tunnel that a verdict names."""

    def __init__(self, tables: TunnelTables) -> None:
        self._tables = tables
        # By inode: the tables that were looked at last, and the names in them.
        self._names: dict[int, tuple[Tables, frozenset[str]]] = {}
        # By inode, as the last census had them.
        self._namespaces: dict[int, Namespace] = {}

    def of(self, inode: int, tunnel: str) -> Place:
        """Return where a tunnel is, by its namespace's inode; NOWHERE when it is not there."""
        table = self._tables.of(inode, 0)
        if table is None or tunnel not in self._tunnels(table):
            return NOWHERE
        # One namespace may be found by several names, of which the census has told one. But when
        # it is gone another has its inode at once.
        told = self._namespaces.get(inode)
        namespace = told if told and is_there(told) else table.namespace
        return label_of(namespace), plain(tunnel)

    def take(self, census: Census) -> dict[Place, Counted]:
        """Give each tunnel of a census its place.

        Of tunnels that have one after their names were made plain, the first has it.
        """
        self._namespaces = {namespace.inode: namespace for namespace, _ in census.namespaces}
        self._names = {i: kept for i, kept in self._names.items() if i in self._namespaces}
        found: dict[Place, Counted] = {}
        for inode, counted in _each(census):
            place = label_of(self._namespaces[inode]), plain(counted.tunnel.name)
            found.setdefault(place, counted)
        return found

    def _tunnels(self, table: TunnelTable) -> frozenset[str]:
        inode, tables = table.namespace.inode, table.tables
        kept = self._names.get(inode)
        if kept is None or kept[0] is not tables:
            kept = self._names[inode] = (
                tables,
                frozenset(t.name for t in tables.tunnels if is_told(t)),
            )
        return kept[1]


def _each(census: Census) -> Iterator[tuple[int, Counted]]:
    for namespace, tunnels in census.namespaces:
        for counted in tunnels:
            if is_told(counted.tunnel):
                yield namespace.inode, counted
