"""Reports as they add up: one for each cause and tuple, with its count."""

from typing import TypeAlias

from gretrace.lookup import Tables
from gretrace.model import (
    ETH_P_IP,
    ETH_P_IPV6,
    ETH_P_TEB,
    Drop,
    GreHeader,
    Report,
    Tuple,
    Verdict,
)

Identity: TypeAlias = tuple[object, ...]


class Tally:
    """The reports so far, by what makes two of them the same."""

    def __init__(self) -> None:
        self.reports: dict[Identity, Report] = {}

    @property
    def total(self) -> int:
        """How many packets they explain."""
        return sum(report.count for report in self.reports.values())

    def add(
        self,
        drop: Drop,
        verdict: Verdict,
        seen: Tuple,
        *,
        count: int,
        iif: str | None,
        namespace: str | None,
    ) -> Identity:
        """Add `count` drops that were judged; return which report has grown."""
        identity = (verdict.cause, drop.place, drop.reason, drop.netns, iif, seen)
        known = self.reports.get(identity)
        self.reports[identity] = Report(
            verdict=verdict,
            drop=drop,
            iif=iif,
            namespace=namespace,
            tuple=seen,
            count=count + (known.count if known else 0),
            first_ns=min(drop.first_ns, known.first_ns) if known else drop.first_ns,
            last_ns=max(drop.last_ns, known.last_ns) if known else drop.last_ns,
        )
        return identity


def tuple_of(drop: Drop, tables: Tables) -> Tuple:
    """Tell the outer tuple of a drop: from the packet, or from the tunnel it was on."""
    packet = drop.packet
    if drop.on_tunnel:
        tunnel = tables.by_ifindex(drop.ifindex)
        if tunnel is None:
            return Tuple(None, None, None, None, (), None)
        protocol = (ETH_P_IP if packet.family == 4 else ETH_P_IPV6) if packet else drop.protocol
        key, csum, seq = (
            (tunnel.okey, tunnel.ocsum, tunnel.oseq)
            if drop.is_sent
            else (tunnel.ikey, tunnel.icsum, tunnel.iseq)
        )
        return Tuple(
            family=tunnel.family,
            remote=tunnel.remote,
            local=tunnel.local,
            key=key,
            flags=_flags(csum=csum, key=key is not None, seq=seq),
            protocol=ETH_P_TEB if tunnel.is_ethernet else protocol,
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
        flags=_flags(csum=gre.has_checksum, key=gre.has_key, seq=gre.has_sequence),
        protocol=gre.protocol if packet.gre else None,
    )


def _flags(**present: bool) -> tuple[str, ...]:
    return tuple(name for name, there in present.items() if there)
