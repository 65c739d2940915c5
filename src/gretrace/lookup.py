"""The kernel's choice of a tunnel for a received packet, as a pure function.

Follows ip_tunnel_lookup() of net/ipv4/ip_tunnel.c and ipgre_rcv() of
net/ipv4/ip_gre.c, pass by pass. `candidates` is what the kernel does not have:
how far each tunnel that was not chosen is from fitting.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gretrace.model import ETH_P_TEB, Address, Tunnel


@dataclass(frozen=True, slots=True)
class Query:
    """What the kernel looks a tunnel up by."""

    remote: Address  # source of the outer header
    local: Address  # its destination
    key: int | None
    protocol: int  # of the GRE header
    link: int = 0  # ifindex of the device on which the packet came


class Pass(StrEnum):
    """The step of the lookup that decided."""

    EXACT = "exact"
    REMOTE = "remote only"
    LOCAL = "local only or multicast"
    KEY = "key only"
    COLLECT_MD = "collect_md"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class Match:
    """The tunnel that takes the packet, and why this one."""

    tunnel: Tunnel
    decided_by: Pass


class Mismatch(StrEnum):
    """What keeps a tunnel from taking a packet."""

    DOWN = "down"
    TYPE = "type"
    KEY = "key"
    LOCAL = "local"
    REMOTE = "remote"


# A wrong key between the right hosts is nearer than the right key between others:
# keys are few and reused, addresses are what names a tunnel.
_DISTANCE = {
    Mismatch.DOWN: 1,
    Mismatch.TYPE: 2,
    Mismatch.KEY: 3,
    Mismatch.LOCAL: 4,
    Mismatch.REMOTE: 5,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tunnel and what it lacks to take the packet."""

    tunnel: Tunnel
    mismatches: tuple[Mismatch, ...]


def lookup(tunnels: Iterable[Tunnel], query: Query) -> Match | None:
    """Return the tunnel that the kernel would choose, or None where it would drop the packet.

    `tunnels` are those of the namespace in which the packet arrived.
    """
    all_tunnels = list(tunnels)
    for kind in _tables(query.protocol):
        match = _lookup_table([t for t in all_tunnels if t.kind == kind], query)
        if match:
            return match
    return None


def candidates(tunnels: Iterable[Tunnel], query: Query) -> list[Candidate]:
    """Every tunnel that could be meant, nearest first, each with all that does not fit."""
    found = [
        Candidate(tunnel, tuple(_mismatches(tunnel, query)))
        for tunnel in tunnels
        if not tunnel.fallback and tunnel.family == query.remote.version
    ]
    return sorted(found, key=_rank)


def _tables(protocol: int) -> Sequence[str]:
    # A frame that no gretap tunnel takes is offered to the gre tunnels as well: v4.7, "gre:
    # receive also TEB packets for lwtunnels". Meant for external ones, but any may win.
    return ("gretap", "gre") if protocol == ETH_P_TEB else ("gre",)


def _lookup_table(tunnels: list[Tunnel], query: Query) -> Match | None:
    # ip_tunnel_add() puts a tunnel at the head of its bucket: the newest is met first.
    alive = sorted((t for t in tunnels if t.up), key=lambda t: t.ifindex, reverse=True)
    best: Match | None = None
    for decided_by, fitting in _passes(alive, query):
        for tunnel in fitting:
            match = Match(tunnel, decided_by)
            if tunnel.link == query.link:
                return match
            # Only the first pass lets a later tunnel replace an earlier one.
            if best is None or decided_by is best.decided_by is Pass.EXACT:
                best = match
    if best:
        return best
    for tunnel in alive:
        if tunnel.external:
            return Match(tunnel, Pass.COLLECT_MD)
    for tunnel in alive:
        if tunnel.fallback:
            return Match(tunnel, Pass.FALLBACK)
    return None


def _passes(tunnels: list[Tunnel], query: Query) -> Iterator[tuple[Pass, list[Tunnel]]]:
    keyed = [t for t in tunnels if t.ikey == query.key]
    yield (
        Pass.EXACT,
        [t for t in keyed if t.remote == query.remote and t.local == query.local],
    )
    yield Pass.REMOTE, [t for t in keyed if t.remote == query.remote and t.local is None]
    yield Pass.LOCAL, [t for t in keyed if _fits_local_only(t, query.local)]
    # This pass compares the key's value and does not ask whether there is a key at all.
    yield (
        Pass.KEY,
        [
            t
            for t in tunnels
            if t.remote is None
            and t.local is None
            and (t.ikey or 0) == (query.key or 0)
            and not (t.fallback or t.external)
        ],
    )


def _fits_local_only(tunnel: Tunnel, local: Address) -> bool:
    if tunnel.remote is None:
        return tunnel.local == local
    return local.is_multicast and tunnel.remote == local


def _mismatches(tunnel: Tunnel, query: Query) -> Iterator[Mismatch]:
    if not tunnel.up:
        yield Mismatch.DOWN
    if tunnel.is_ethernet != (query.protocol == ETH_P_TEB):
        yield Mismatch.TYPE
    if tunnel.external:
        return
    if tunnel.remote is None and tunnel.local is None:
        if (tunnel.ikey or 0) != (query.key or 0):
            yield Mismatch.KEY
    elif tunnel.ikey != query.key:
        yield Mismatch.KEY
    if tunnel.remote is not None and tunnel.remote.is_multicast:
        if tunnel.remote != query.local:
            yield Mismatch.REMOTE
        return
    if tunnel.local not in (None, query.local):
        yield Mismatch.LOCAL
    if tunnel.remote not in (None, query.remote):
        yield Mismatch.REMOTE


def _rank(candidate: Candidate) -> tuple[int, int, int, int]:
    tunnel = candidate.tunnel
    wildcards = (tunnel.remote is None) + (tunnel.local is None)
    distance = sum(_DISTANCE[m] for m in candidate.mismatches)
    return len(candidate.mismatches), distance, wildcards, tunnel.ifindex
