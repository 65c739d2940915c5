# SPDX-License-Identifier: GPL-2.0-only
"""What a live command watches: the namespaces, their tunnels, and the packets of interest."""

from contextlib import ExitStack, closing

from gretrace import cli
from gretrace.engine.wanted import Wanted
from gretrace.errors import UsageError
from gretrace.host.namespaces import Namespace, all_namespaces, find_namespace, own_namespace
from gretrace.host.tables import TunnelTables
from gretrace.host.tunnels import TunnelTable
from gretrace.model import Address


def open_tables(stack: ExitStack, netns: str | None, *, all_netns: bool) -> TunnelTables:
    """Open the tables of the namespaces that --netns and --all-netns name, until `stack` ends.

    That of a single namespace is read at once: a verdict asks what a tunnel has received since.
    """
    if netns and all_netns:
        raise UsageError("--netns and --all-netns contradict each other", "give one of them")
    namespaces = all_namespaces() if all_netns else [one_namespace(netns)]
    tables = stack.enter_context(closing(TunnelTables(namespaces, find_more=all_netns)))
    if not all_netns:
        tables.open(namespaces[0])
    return tables


def shed_privileges(*, enters: bool) -> None:
    """Let go of what a run needs no longer once it is attached; `enters`: other namespaces."""
    if cli.is_own_process:
        from gretrace.host.privileges import ENTERING, WATCHING, shed

        shed((*WATCHING, *(ENTERING if enters else ())))


def one_namespace(netns: str | None) -> Namespace:
    """Return the namespace that --netns names, or the caller's own."""
    return find_namespace(netns) if netns else own_namespace()


def wanted_packets(
    tables: TunnelTables,
    *,
    all_netns: bool,
    remote: Address | None,
    local: Address | None,
    key: int | str | None,
    iif: str | None,
) -> Wanted:
    """Build the filter of the options of the same names; a key may be "none"."""
    table = None if all_netns else next(iter(tables.opened()))
    if iif and table is None:
        raise UsageError("--iif needs one namespace", "give --netns instead of --all-netns")
    return Wanted(
        remote=remote,
        local=local,
        key=key if isinstance(key, int) else None,
        no_key=key == "none",
        ifindex=device_index(table, iif) if table and iif else None,
        netns=table.namespace.inode if table else None,
    )


def device_index(table: TunnelTable, name: str) -> int:
    """Return the ifindex of a device; raises UsageError when there is none of that name."""
    ifindex = table.link_index(name)
    if ifindex is None:
        raise UsageError(
            f"there is no interface {name!r} here", "see `ip link` for those there are"
        )
    return ifindex
