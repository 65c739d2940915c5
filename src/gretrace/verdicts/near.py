# SPDX-License-Identifier: GPL-2.0-only
"""Which tunnel a packet that none of them took was meant for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gretrace.kernel.lookup import Candidate, Mismatch
from gretrace.model import GreHeader, Traffic, Tunnel


@dataclass(frozen=True, slots=True)
class NearMiss:
    """The tunnel that was meant, as far as one can tell, and the fault that kept it."""

    tunnel: Tunnel
    fault: Mismatch
    is_down_too: bool
    rivals: tuple[Tunnel, ...] = ()  # that are as near; then nothing tells which was meant


def find_near_miss(
    candidates: Sequence[Candidate], gre: GreHeader | None, traffic: Mapping[int, Traffic]
) -> NearMiss | None:
    """Return the nearest tunnel that lacks just one thing, with those that are as near.

    To be down on top of it makes no tunnel less likely to be the one, unless only the remote
    differs: that fault alone needs the evidence of `_is_unheard`.
    """
    eligible = [c for c in candidates if _lacks_one(c, candidates, traffic)]
    if not eligible:
        return None
    best = eligible[0]
    equals = [c.tunnel for c in eligible if _nearness(c) == _nearness(best)]
    nearest, *rivals = _told_apart(equals, gre, traffic)
    faults = set(best.mismatches)
    fault = next(iter(faults - {Mismatch.DOWN} or {Mismatch.DOWN}))
    return NearMiss(nearest, fault, len(faults) > 1, tuple(rivals))


def is_in_use(tunnel: Tunnel, traffic: Mapping[int, Traffic]) -> bool:
    """Whether a tunnel has ever heard its peer."""
    seen = traffic.get(tunnel.ifindex)
    return bool(seen and seen.received)


def _lacks_one(
    candidate: Candidate, every: Sequence[Candidate], traffic: Mapping[int, Traffic]
) -> bool:
    others = set(candidate.mismatches) - {Mismatch.DOWN} or {Mismatch.DOWN}
    if len(others) > 1:
        return False
    return Mismatch.REMOTE not in others or _is_unheard(candidate, every, traffic)


def _told_apart(
    equals: Sequence[Tunnel], gre: GreHeader | None, traffic: Mapping[int, Traffic]
) -> Sequence[Tunnel]:
    """Return those of tunnels equally near that packet and traffic speak for.

    First those that take the packet's checksum and number, then those that never heard a peer
    of their own.
    """
    if gre:
        fits = [(t.icsum == gre.has_checksum) + (t.iseq == gre.has_sequence) for t in equals]
        equals = [t for t, fit in zip(equals, fits, strict=True) if fit == max(fits)]
    return [t for t in equals if not is_in_use(t, traffic)] or equals


def _is_unheard(
    candidate: Candidate, every: Sequence[Candidate], traffic: Mapping[int, Traffic]
) -> bool:
    """Whether a tunnel that expects another source seems to wait for this one.

    On a host with many tunnels every stray packet differs from each of them in the remote only.
    The one meant never received, or has fallen silent and is the only such.
    """
    if candidate.mismatches != (Mismatch.REMOTE,):
        return False
    rivals = [c.tunnel for c in every if c.mismatches == (Mismatch.REMOTE,)]
    never = [t for t in rivals if (seen := traffic.get(t.ifindex)) and not seen.received]
    if never:
        return candidate.tunnel in never
    silent = [
        t
        for t in rivals
        if not (seen := traffic.get(t.ifindex)) or not seen.received_while_watching
    ]
    return silent == [candidate.tunnel]


def _nearness(candidate: Candidate) -> tuple[tuple[Mismatch, ...], int]:
    tunnel = candidate.tunnel
    return candidate.mismatches, (tunnel.remote is None) + (tunnel.local is None)
