# SPDX-License-Identifier: GPL-2.0-only
"""All GRE tunnels with their counters, as they are now, as far as there is time and room.

Nothing is kept open, so that no namespace lives longer for being looked at.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from gretrace.errors import GretraceError
from gretrace.host.gre_link import tunnels_in
from gretrace.host.namespaces import Namespace, entered
from gretrace.host.netlink import Link, Links
from gretrace.model import Tunnel

# Of a whole census: seconds that it may take, links that are read, tunnels that are told of.
# Whoever may make a namespace may make thousands, with thousands of links each.
PATIENCE, LINKS_AT_MOST, TUNNELS_AT_MOST = 5.0, 100_000, 20_000


@dataclass(frozen=True, slots=True)
class Counted:
    """A tunnel and what it has carried (struct rtnl_link_stats64)."""

    tunnel: Tunnel
    counters: Mapping[str, int]
    xdp_program: int | None  # its id


@dataclass(frozen=True, slots=True)
class Census:
    """The tunnels of each namespace that was looked into, and what was left out."""

    namespaces: tuple[tuple[Namespace, tuple[Counted, ...]], ...] = ()
    left_out: int = 0  # namespaces; those that are gone or may not be entered are none


def take_census(
    namespaces: Iterable[Namespace], clock: Callable[[], float] = time.monotonic
) -> Census:
    """Read the tunnels of namespaces, in their order."""
    begin = clock()
    found: list[tuple[Namespace, tuple[Counted, ...]]] = []
    left_out, room = 0, TUNNELS_AT_MOST
    reading = read_links(namespaces, LINKS_AT_MOST, lambda: clock() >= begin + PATIENCE)
    for namespace, links in reading:
        if links is None:
            left_out += 1
            continue
        counted = tuple(_counted(links, namespace.inode))
        if len(counted) > room:
            left_out += 1
            continue
        room -= len(counted)
        found.append((namespace, counted))
    return Census(tuple(found), left_out)


def read_links(
    namespaces: Iterable[Namespace], room: int, is_late: Callable[[], bool]
) -> Iterator[tuple[Namespace, list[Link] | None]]:
    """Yield the links of each namespace; None where there is no time or room left for them.

    One that is gone, or may not be entered, is left out. `room` is in links, of all together.
    """
    for namespace in namespaces:
        if is_late():
            yield namespace, None
            continue
        try:
            with entered(namespace):
                asking = Links()
            with closing(asking):
                links = asking.dump_some(room, is_late)
        except (GretraceError, OSError):
            continue
        room -= len(links or ())
        yield namespace, links


def _counted(links: list[Link], inode: int) -> Iterator[Counted]:
    by_index = {link.index: link for link in links}
    for tunnel in tunnels_in(links, inode):
        link = by_index[tunnel.ifindex]
        yield Counted(tunnel, link.counters(), link.xdp_program)
