# SPDX-License-Identifier: GPL-2.0-only
"""ip6gre_tunnel_lookup() and __ip6gre_bucket() of net/ipv6/ip6_gre.c."""

from collections.abc import Hashable, Iterable, Iterator
from ipaddress import IPv6Address

from gretrace.kernel.kinds import ERSPAN, FRAMES, kind_of
from gretrace.kernel.lookup.hashes import IPV6_BITS, hash_address, hash_key
from gretrace.kernel.lookup.table import Table
from gretrace.kernel.lookup.terms import Match, Mismatch, Pass, Query, stored_key
from gretrace.model import Address, Tunnel

# struct ip6gre_net has a table for each combination of addresses that a tunnel may have.
_REMOTE, _LOCAL = 2, 1
_TABLE = {
    Pass.EXACT: _REMOTE | _LOCAL,
    Pass.REMOTE: _REMOTE,
    Pass.LOCAL: _LOCAL,
    Pass.KEY: 0,
}


class Ipv6Table(Table):
    """All tunnels over IPv6 (struct ip6gre_net)."""

    def _bucket_of(self, tunnel: Tunnel) -> int:
        return _bucket(_table_of(tunnel), stored_key(tunnel), tunnel.remote)

    def _bucket_for(self, decided_by: Pass, query: Query) -> int:
        return _bucket(_TABLE[decided_by], query.key or 0, query.remote)

    def _compare(self, decided_by: Pass, tunnel: Tunnel, query: Query) -> Iterator[Mismatch]:
        if decided_by in (Pass.EXACT, Pass.REMOTE) and tunnel.remote != query.remote:
            yield Mismatch.REMOTE
        if decided_by is Pass.EXACT and tunnel.local != query.local:
            yield Mismatch.LOCAL
        group_fits = query.local.is_multicast and tunnel.remote == query.local
        if decided_by is Pass.LOCAL and tunnel.local != query.local and not group_fits:
            yield Mismatch.LOCAL
        # No pass asks whether there is a key at all: key 0 and no key are the same here.
        if stored_key(tunnel) != (query.key or 0):
            yield Mismatch.KEY
        if not tunnel.up:
            yield Mismatch.DOWN
        if kind_of(tunnel).is_ethernet and query.protocol not in FRAMES:
            yield Mismatch.TYPE

    def _found_by(self, tunnel: Tunnel) -> Iterable[tuple[Hashable, ...]]:
        key, table = stored_key(tunnel), _table_of(tunnel)
        remote = tunnel.remote if table & _REMOTE else None
        carries = (True, False) if not kind_of(tunnel).is_ethernet else (True,)
        for frames in carries:
            yield remote, tunnel.local, key, frames
            if table == _LOCAL and tunnel.remote and tunnel.remote != tunnel.local:
                yield None, tunnel.remote, key, frames

    def _finds_by(self, decided_by: Pass, query: Query) -> Iterable[tuple[Hashable, ...]]:
        table = _TABLE[decided_by]
        remote = query.remote if table & _REMOTE else None
        key, frames = query.key or 0, query.protocol in FRAMES
        if decided_by is not Pass.KEY:
            yield remote, query.local if table & _LOCAL else None, key, frames
            return
        yield None, None, key, frames

    def _score(self, tunnel: Tunnel, query: Query) -> int:
        wrong_type = kind_of(tunnel).is_ethernet != (query.protocol in FRAMES)
        return (tunnel.link != query.link) + 2 * wrong_type

    def _replaces(self, match: Match, best: Match, query: Query) -> bool:
        return self._score(match.tunnel, query) < self._score(best.tunnel, query)

    def _last_resort(self, query: Query) -> Match | None:
        for tunnel in self._external:
            # struct ip6gre_net keeps the one for ERSPAN apart.
            if bool(kind_of(tunnel).erspan) == (query.protocol in ERSPAN):
                return Match(tunnel, Pass.COLLECT_MD)
        return Match(self._fallback, Pass.FALLBACK) if self._fallback else None


def _table_of(tunnel: Tunnel) -> int:
    remote = tunnel.remote is not None and not tunnel.remote.is_multicast
    return remote * _REMOTE | (tunnel.local is not None) * _LOCAL


def _bucket(table: int, key: int, remote: Address | None) -> int:
    """Number the buckets of the four tables through."""
    number = hash_key(key)
    if table & _REMOTE and isinstance(remote, IPv6Address):
        number ^= hash_address(remote)
    return (table << IPV6_BITS) + number
