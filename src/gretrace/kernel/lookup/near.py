# SPDX-License-Identifier: GPL-2.0-only
"""Which tunnels are nearest to a packet that none of them takes."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from itertools import product
from typing import TypeAlias

from gretrace.kernel.kinds import kind_of
from gretrace.kernel.lookup.terms import Candidate, Mismatch, Query
from gretrace.model import Address, Tunnel

# More than anybody reads, and enough to tell one silent tunnel from a crowd.
NEAREST = 32

# A wrong key between the right hosts is nearer than the right key between others:
# keys are few and reused, addresses are what names a tunnel.
_DISTANCE = {
    Mismatch.DOWN: 1,
    Mismatch.TYPE: 2,
    Mismatch.KEY: 3,
    Mismatch.LOCAL: 4,
    Mismatch.REMOTE: 5,
}

# Remote, local and key.
_Shared: TypeAlias = tuple[int | str | None, ...]
# Stands for a remote, local or key that is not asked for.
_WHATEVER = "*"


class Neighbours:
    """Finds the nearest tunnels without looking at all of them.

    Tunnels are kept by every subset of what a packet can share with them, so the first few
    of each subset that fits are enough to find the first few of all.
    """

    def __init__(self, tunnels: Iterable[Tunnel]) -> None:
        # By family, then by what the tunnel carries and whether it is up, then by the subset.
        self._groups: dict[int, dict[Hashable, dict[_Shared, list[Tunnel]]]] = {4: {}, 6: {}}
        for tunnel in sorted(tunnels, key=lambda tunnel: tunnel.ifindex):
            if tunnel.fallback or tunnel.moved:
                continue
            kind = kind_of(tunnel)
            groups = self._groups[kind.family]
            group = groups.setdefault((kind.is_ethernet, tunnel.up), defaultdict(list))
            key = _key(tunnel.ikey, kind.family)
            for shared in _subsets([_number(tunnel.remote)], [_number(tunnel.local)], [key]):
                group[shared].append(tunnel)

    def nearest(self, query: Query) -> list[Candidate]:
        """Return the nearest tunnels, the nearest first."""
        groups = self._groups[query.remote.version].values()
        near = {
            tunnel.ifindex: tunnel
            for shared in _sharing(query)
            for group in groups
            if shared in group
            for tunnel in group[shared][:NEAREST]
        }
        found = [Candidate(t, tuple(mismatches(t, query))) for t in near.values()]
        return sorted(found, key=_rank)[:NEAREST]


def _sharing(query: Query) -> Iterable[_Shared]:
    """Return every subset of what a tunnel can have in common with the packet."""
    remotes = [_number(query.remote), None]
    if query.local.is_multicast:
        # A multicast tunnel has its group as remote, which is the packet's destination.
        remotes.append(_number(query.local))
    keys = [_key(query.key, query.remote.version)]
    if not query.key:
        # Between any and any, key 0 and no key are the same.
        keys = [0, None]
    return _subsets(remotes, [_number(query.local), None], keys)


def _subsets(
    remotes: list[int | None], locals_: list[int | None], keys: list[int | None]
) -> Iterable[_Shared]:
    # None is any address, or no key, which is not the same as whatever it is.
    return product((*remotes, _WHATEVER), (*locals_, _WHATEVER), (*keys, _WHATEVER))


def mismatches(tunnel: Tunnel, query: Query) -> Iterator[Mismatch]:
    """Tell everything that keeps a tunnel from taking a packet."""
    if not tunnel.up:
        yield Mismatch.DOWN
    kind = kind_of(tunnel)
    if not kind.carries(query.protocol):
        yield Mismatch.TYPE
    if tunnel.external:
        return
    remote, local = tunnel.remote, tunnel.local
    anywhere = remote is None and local is None
    if anywhere or kind.family == 6:
        if (tunnel.ikey or 0) != (query.key or 0):
            yield Mismatch.KEY
    elif tunnel.ikey != query.key:
        yield Mismatch.KEY
    if remote is not None and remote.is_multicast:
        if remote != query.local:
            yield Mismatch.REMOTE
        return
    # To compare an address with None raises and catches an error inside.
    if local is not None and local != query.local:
        yield Mismatch.LOCAL
    if remote is not None and remote != query.remote:
        yield Mismatch.REMOTE


def _number(address: Address | None) -> int | None:
    # Hashing an address object takes ten times as long.
    return None if address is None else int(address)


def _key(key: int | None, family: int) -> int | None:
    # Over IPv6 the kernel compares the value alone, and no key counts as 0.
    return 0 if key is None and family == 6 else key


def _rank(candidate: Candidate) -> tuple[int, int, int, int]:
    tunnel = candidate.tunnel
    wildcards = (tunnel.remote is None) + (tunnel.local is None)
    distance = sum(_DISTANCE[m] for m in candidate.mismatches)
    return len(candidate.mismatches), distance, wildcards, tunnel.ifindex
