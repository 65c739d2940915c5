# SPDX-License-Identifier: GPL-2.0-only
"""ip_tunnel_lookup() and ip_bucket() of net/ipv4/ip_tunnel.c."""

from collections.abc import Hashable, Iterable, Iterator

from gretrace.kernel.lookup.hashes import ip_tunnel_hash
from gretrace.kernel.lookup.table import Table
from gretrace.kernel.lookup.terms import Match, Mismatch, Pass, Query, stored_key
from gretrace.model import ETH_P_ERSPAN, Tunnel


class Ipv4Table(Table):
    """The tunnels of one kind (struct ip_tunnel_net)."""

    def _bucket_of(self, tunnel: Tunnel) -> int:
        remote = tunnel.remote
        hashed = 0 if remote is None or remote.is_multicast else int(remote)
        return ip_tunnel_hash(stored_key(tunnel), hashed)

    def _bucket_for(self, decided_by: Pass, query: Query) -> int:
        by_remote = decided_by in (Pass.EXACT, Pass.REMOTE)
        return ip_tunnel_hash(query.key or 0, int(query.remote) if by_remote else 0)

    def _compare(self, decided_by: Pass, tunnel: Tunnel, query: Query) -> Iterator[Mismatch]:
        if decided_by is Pass.LOCAL and query.local.is_multicast and tunnel.remote == query.local:
            remote_fits = local_fits = True
        else:
            # What a pass does not compare must be any.
            remote_fits = tunnel.remote == (
                query.remote if decided_by in (Pass.EXACT, Pass.REMOTE) else None
            )
            local_fits = tunnel.local == (
                query.local if decided_by in (Pass.EXACT, Pass.LOCAL) else None
            )
        if not remote_fits:
            yield Mismatch.REMOTE
        if not local_fits:
            yield Mismatch.LOCAL
        if not tunnel.up:
            yield Mismatch.DOWN
        if decided_by is not Pass.KEY:
            if tunnel.ikey != query.key:
                yield Mismatch.KEY
        # The last pass compares the key's value and does not ask whether there is a key at all.
        elif not _says_no_key(query) and stored_key(tunnel) != (query.key or 0):
            yield Mismatch.KEY

    def _found_by(self, tunnel: Tunnel) -> Iterable[tuple[Hashable, ...]]:
        yield tunnel.remote, tunnel.local, tunnel.ikey
        if tunnel.remote is None and tunnel.local is None:
            yield "value", stored_key(tunnel)
            yield ("value",)
        elif tunnel.remote and tunnel.remote.is_multicast:
            yield tunnel.remote, tunnel.ikey

    def _finds_by(self, decided_by: Pass, query: Query) -> Iterable[tuple[Hashable, ...]]:
        if decided_by is Pass.EXACT:
            yield query.remote, query.local, query.key
        elif decided_by is Pass.REMOTE:
            yield query.remote, None, query.key
        elif decided_by is Pass.LOCAL:
            yield None, query.local, query.key
            if query.local.is_multicast:
                yield query.local, query.key
        elif _says_no_key(query):
            yield ("value",)
        else:
            yield "value", query.key or 0

    def _score(self, tunnel: Tunnel, query: Query) -> int:
        return int(tunnel.link != query.link)

    def _replaces(self, match: Match, best: Match, _query: Query) -> bool:
        # Only the first pass lets a later tunnel replace an earlier one.
        return match.decided_by is best.decided_by is Pass.EXACT

    def _last_resort(self, _query: Query) -> Match | None:
        if self._external:
            return Match(self._external[0], Pass.COLLECT_MD)
        return Match(self._fallback, Pass.FALLBACK) if self._fallback else None


def _says_no_key(query: Query) -> bool:
    # erspan_rcv() of net/ipv4/ip_gre.c sets TUNNEL_NO_KEY for type I.
    return query.protocol == ETH_P_ERSPAN and query.key is None
