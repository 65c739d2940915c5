# SPDX-License-Identifier: GPL-2.0-only
"""Reports as they add up: one for each cause and tuple, with its count."""

import struct
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from itertools import count as count_up
from itertools import islice
from typing import Protocol, TypeAlias

from gretrace.kernel.kinds import kind_of
from gretrace.kernel.lookup import Tables
from gretrace.model import (
    ETH_P_IP,
    ETH_P_IPV6,
    ETH_P_TEB,
    Address,
    Drop,
    GreHeader,
    Place,
    Report,
    Total,
    Tuple,
    Verdict,
)

# What makes two reports the same; see Totals.
Identity: TypeAlias = tuple[int, int | None, int | None, int | None]

# Cause, place, reason, netns and its cookie, iif, namespace, family, flags, protocol, tunnel.
_Common: TypeAlias = tuple[
    str,
    Place,
    str | None,
    int,
    int,
    str | None,
    str | None,
    int | None,
    tuple[str, ...],
    int | None,
    str | None,
]


# Reports that are counted apart. Strangers can make any number of them.
REPORTS_AT_MOST = 1 << 17
VARIANTS_AT_MOST = 8
# When there are more, so many go at once: to find them takes a look at all.
LEAVE_AT_ONCE = 1 << 12


class Sums(Protocol):
    """Where drops that were judged are added up."""

    packets: int

    def add(self, told: Report) -> tuple[Hashable, Report, bool]:
        """Add drops that were judged; return what they add up to, by what it is known, and if new.

        What is returned counts all so far, where `told` counts those that have come since.
        """

    def __iter__(self) -> Iterator[Total]:
        """Yield each sum."""


class Totals:
    """How often each report was counted, without its words, in little room.

    A flood of forged packets makes a report of each. So an identity is numbers alone: that of
    all that many reports have in common, then remote, local and key. And when there are too
    many, the longest idle of those that have most in common are let go of, into one sum for
    each cause, place and reason: should one of them come again, it is counted anew.
    """

    # Count, time of the first and of the last, the report's id.
    _SUM = struct.Struct("=QQQI")

    def __init__(self, at_most: int = REPORTS_AT_MOST) -> None:
        self._at_most = at_most
        # The longest idle first.
        self._sums: dict[Identity, bytes] = {}
        self._common: dict[_Common, int] = {}
        self._numbers = count_up()
        self._ids = count_up(1)
        # Numbers in `_common` that differ in the tunnel alone, by all else.
        self._variants: dict[_Common, list[int]] = {}
        # Reports and packets that were let go of, by cause, place and reason.
        self._rest: dict[tuple[str, Place, str | None], tuple[int, int]] = {}
        self.packets = 0

    def add(self, told: Report) -> tuple[Identity, Report, bool]:
        """Add drops that were judged, as Sums has it."""
        verdict, drop, seen = told.verdict, told.drop, told.tuple
        common = (
            verdict.cause,
            drop.place,
            drop.reason,
            drop.netns,
            drop.netns_cookie,
            told.iif,
            told.namespace,
            seen.family,
            seen.flags,
            seen.protocol,
            verdict.finding.tunnel,
        )
        ends = (
            None if seen.remote is None else int(seen.remote),
            None if seen.local is None else int(seen.local),
            seen.key,
        )
        identity = (self._number(common), *ends)
        self.packets += told.count
        count, first_ns, last_ns = told.count, told.first_ns, told.last_ns
        known = self._sums.pop(identity, None)
        if known:
            before, first, last, number = self._SUM.unpack(known)
            count, first_ns, last_ns = count + before, min(first, first_ns), max(last, last_ns)
        else:
            number = next(self._ids) % (1 << 32)
            verdict = self._with_former(verdict, common, ends)
        self._sums[identity] = self._SUM.pack(count, first_ns, last_ns, number)
        if len(self._sums) > self._at_most:
            self._make_room()
        times = first_ns, last_ns
        report = Report(verdict, drop, told.iif, told.namespace, seen, count, *times, number)
        return identity, report, not known

    def __iter__(self) -> Iterator[Total]:
        """Yield all, the longest idle first, then the sums of those that were let go of."""
        commons = {number: common for common, number in self._common.items()}
        for (common, remote, local, key), packed in self._sums.items():
            cause, _, _, netns, _, iif, namespace, family, flags, protocol, tunnel = commons[common]
            count, *_ = self._SUM.unpack(packed)
            ends = _address(family, remote), _address(family, local)
            seen = Tuple(family, *ends, key, flags, protocol)
            yield Total(cause, tunnel, netns, iif, namespace, seen, count)
        unknown = Tuple(None, None, None, None, (), None)
        for (cause, _, _), (reports, count) in self._rest.items():
            yield Total(cause, None, 0, None, None, unknown, count, reports)

    def _number(self, common: _Common) -> int:
        number = self._common.get(common)
        if number is None:
            number = self._common[common] = next(self._numbers)
            variants = self._variants.setdefault((*common[:-1], None), [])
            # A host has few tunnels that one tuple can be laid to; the latest are enough.
            variants.append(number)
            del variants[:-VARIANTS_AT_MOST]
        return number

    def _with_former(
        self, verdict: Verdict, common: _Common, ends: tuple[int | None, int | None, int | None]
    ) -> Verdict:
        """Say so where packets of this tuple were laid to another tunnel, or to none, before."""
        own = self._common[common]
        for number in self._variants.get((*common[:-1], None), ()):
            former = self._sums.get((number, *ends)) if number != own else None
            if former:
                *_, told_as = self._SUM.unpack(former)
                said = f"Others of the same addresses and key are report {told_as}, not of "
                said += f"{verdict.finding.tunnel or 'no tunnel'}."
                evidence = (*verdict.finding.evidence, said)
                return replace(verdict, finding=replace(verdict.finding, evidence=evidence))
        return verdict

    def _make_room(self) -> None:
        """Let go of the longest idle of the most numerous, never of the latest."""
        numbers = Counter(identity[0] for identity in self._sums)
        self._common = {common: n for common, n in self._common.items() if n in numbers}
        kept = {(*common[:-1], None) for common in self._common}
        self._variants = {base: those for base, those in self._variants.items() if base in kept}
        most = numbers.most_common(1)[0][0]
        cause, place, reason, *_ = next(c for c, n in self._common.items() if n == most)
        alike = (identity for identity in self._sums if identity[0] == most)
        leaving = list(islice(alike, min(LEAVE_AT_ONCE, self._at_most // 2)))
        packets = sum(self._SUM.unpack(self._sums.pop(identity))[0] for identity in leaving)
        reports, before = self._rest.get((cause, place, reason), (0, 0))
        self._rest[cause, place, reason] = reports + len(leaving), before + packets


def report_of(
    drop: Drop,
    verdict: Verdict,
    seen: Tuple,
    iif: str | None,
    namespace: str | None,
    count: int | None = None,
) -> Report:
    """Put together what is said of drops, of `count` of them if not of all that it counts."""
    count = drop.count if count is None else count
    return Report(verdict, drop, iif, namespace, seen, count, drop.first_ns, drop.last_ns)


def tuple_of(drop: Drop, tables: Tables) -> Tuple:
    """Tell the outer tuple of a drop: from the packet, or from the tunnel it was on."""
    packet = drop.packet
    if drop.below:
        return drop.below
    if drop.on_tunnel:
        tunnel = tables.by_ifindex(drop.ifindex)
        if tunnel is None:
            return Tuple(None, None, None, None, (), None)
        protocol = (ETH_P_IP if packet.family == 4 else ETH_P_IPV6) if packet else drop.protocol
        kind = kind_of(tunnel)
        key, csum, seq = (
            (tunnel.okey, tunnel.ocsum, tunnel.oseq)
            if drop.is_sent
            else (tunnel.ikey, tunnel.icsum, tunnel.iseq)
        )
        return Tuple(
            family=kind.family,
            remote=tunnel.remote,
            local=tunnel.local,
            key=key,
            flags=_flags(csum, key is not None, seq),
            protocol=ETH_P_TEB if kind.is_ethernet else protocol,
        )
    if packet is None:
        return Tuple(None, None, None, None, (), None)
    gre = packet.gre or GreHeader(0, 0, None, None, complete=False)
    remote, local = packet.remote, packet.local
    if drop.is_sent:
        remote, local = local, remote
    return Tuple(
        family=packet.family,
        remote=remote,
        local=local,
        key=gre.key,
        flags=_flags(gre.has_checksum, gre.has_key, gre.has_sequence),
        protocol=gre.protocol if packet.gre else None,
    )


@lru_cache
def _flags(*present: bool) -> tuple[str, ...]:
    return tuple(name for name, there in zip(("csum", "key", "seq"), present, strict=True) if there)


def _address(family: int | None, number: int | None) -> Address | None:
    if number is None:
        return None
    return IPv6Address(number) if family == 6 else IPv4Address(number)
