# SPDX-License-Identifier: GPL-2.0-only
"""Everything a verdict may look at, gathered before it is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

from gretrace.commands import HERE, Netns
from gretrace.kernel import receive, send, stack
from gretrace.kernel.lookup import Candidate, Match, Mismatch, Pass, Query, Tables
from gretrace.kernel.passage import Passage
from gretrace.kernel.send import Sending, sending_of
from gretrace.kernel.stack import Stay
from gretrace.kernel.surroundings import Nowhere, Surroundings
from gretrace.kernel.way import Step
from gretrace.model import ETH_P_IPV6, GRE, Drop, Packet, Traffic, Tunnel


@dataclass(frozen=True, slots=True)
class NearMiss:
    """The tunnel that was meant, as far as one can tell, and the fault that kept it."""

    tunnel: Tunnel
    fault: Mismatch
    is_down_too: bool


@dataclass(frozen=True)
class Case:
    """A drop, and the state of its namespace at that time."""

    drop: Drop
    tables: Tables | None  # None: the namespace is gone or out of reach
    traffic: Mapping[int, Traffic] = field(default_factory=dict)  # by ifindex
    iif: str | None = None
    leaving_by: str | None = None  # the device by which it was to leave, when it came by a tunnel
    netns: Netns = HERE
    host: Surroundings = field(default_factory=Nowhere)

    @property
    def packet(self) -> Packet | None:
        """The packet that was dropped."""
        return self.drop.packet

    @cached_property
    def passage(self) -> Passage:
        """What is known of it as a received packet."""
        drop, device = self.drop, receive.find_device(self.drop, self.tables)
        return Passage(
            drop.packet, self.tables, drop.ifindex, self.host, device=device, protocol=drop.protocol
        )

    @cached_property
    def stay(self) -> Stay:
        """What is known of it in the host's own stack."""
        drop, carrier = self.drop, self.carrier
        return Stay(
            drop.packet,
            self.iif,
            self.host,
            is_routed=drop.is_routed,
            is_sent=drop.is_sent,
            is_wrapped=self.is_wrapped,
            is_external=bool(drop.on_tunnel and carrier and carrier.external),
        )

    @cached_property
    def sending(self) -> Sending:
        """What is known of it as a packet that a tunnel sends."""
        return sending_of(self.drop, self.tables, self.host)

    @cached_property
    def steps(self) -> tuple[Step[Any], ...]:
        """The steps of the kernel's way that can have ended it: one, unless more is to be known."""
        family = self.passage.family or (6 if self.drop.protocol == ETH_P_IPV6 else 4)
        own = self.packet.family if self.packet else family
        found: tuple[Step[Any], ...] = ()
        # What a way depends on may be dear to ask for.
        if receive.WAYS[family].can_free(self.drop):
            found += receive.WAYS[family].fitting(self.passage, self.drop)
        if stack.WAYS[own].can_free(self.drop):
            found += stack.WAYS[own].fitting(self.stay, self.drop)
        if send.WAY.can_free(self.drop):
            found += send.WAY.fitting(self.sending, self.drop)
        return found

    def is_at(self, *steps: Step[Any]) -> bool:
        """Whether it can have ended at none but these steps."""
        return bool(self.steps) and all(step in steps for step in self.steps)

    @cached_property
    def query(self) -> Query | None:
        """What the kernel looked a tunnel up by, if the packet got that far."""
        packet = self.packet
        if not packet or packet.protocol != GRE or receive.header_fault(self.passage):
            return None
        return self.passage.query

    @property
    def missed(self) -> Query | None:
        """The lookup that found no tunnel, if that is how the packet died."""
        return self.query if self.tables and self.is_at(receive.no_tunnel) else None

    @cached_property
    def fits_elsewhere(self) -> tuple[Netns | None, Match] | None:
        """The tunnel that fits but receives elsewhere, where none here comes near.

        With its namespace, None for a tunnel that is here and was made elsewhere.
        """
        if self.missed is None or self.near_miss or self.tables is None:
            return None
        query = replace(self.missed, link=None)
        moved = [replace(t, moved=False) for t in self.tables.tunnels if t.moved]
        for there, tables in chain([(None, Tables(moved))], self.host.other_namespaces()):
            match = tables.lookup(query)
            # What takes packets between any addresses was not meant for these.
            if match and match.decided_by in (Pass.EXACT, Pass.REMOTE, Pass.LOCAL):
                return there, match
        return None

    @property
    def is_refused(self) -> bool:
        """Whether a tunnel was found, and freed the packet before it was its own."""
        family = self.passage.family
        return family is not None and receive.is_refusal(self.drop, family)

    @property
    def is_wrapped(self) -> bool:
        """Whether a tunnel has encapsulated it, and it is on the tunnel's device all the same.

        It is until the underlay's takes it: between iptunnel_xmit() and ip_output().
        """
        drop, packet, tunnel = self.drop, self.packet, self.carrier
        if not (drop.on_tunnel and drop.is_sent and tunnel) or packet is None or not packet.gre:
            return False
        return tunnel.remote in (None, packet.local) and bool(packet.payload)

    @cached_property
    def chosen(self) -> Tunnel | None:
        """The tunnel that took the packet, whatever became of it then."""
        if self.tables is None or self.drop.on_tunnel or self.query is None:
            return None
        match = self.tables.lookup(self.query)
        return match.tunnel if match else None

    @cached_property
    def carrier(self) -> Tunnel | None:
        """The tunnel on whose device the packet died: decapsulated, or to be encapsulated."""
        if self.tables is None or not self.drop.on_tunnel:
            return None
        outer = self.drop.below
        if outer is None:
            return self.tables.by_ifindex(self.drop.ifindex)
        if outer.remote is None or outer.local is None or outer.protocol is None:
            return None
        match = self.tables.lookup(Query(outer.remote, outer.local, outer.key, outer.protocol))
        return match.tunnel if match else None

    @property
    def is_keepalive(self) -> bool:
        """Whether it is what a keepalive carries, decapsulated: the answer, from us to the peer."""
        packet, tunnel = self.packet, self.carrier
        if not packet or not packet.gre or not tunnel or tunnel.fallback or self.drop.is_sent:
            return False
        if receive.is_of_outer(self.drop) or self.is_refused:
            # It has not come to where it would be sent back.
            return False
        return (
            # RouterOS has the protocol of IPv6 in what it sends over IPv6.
            packet.gre.protocol in (0, ETH_P_IPV6)
            and not packet.payload
            and tunnel.local in (None, packet.remote)
            and tunnel.remote in (None, packet.local)
        )

    @property
    def delivered(self) -> Packet | None:
        """The inner packet that a tunnel of the user's has received, and that died after it."""
        if not self.drop.on_tunnel or self.drop.is_sent or self.is_keepalive:
            return None
        return None if self.carrier and self.carrier.fallback else self.packet

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The tunnels that are nearest to the missed lookup, the nearest first."""
        if self.tables is None or self.missed is None:
            return []
        return self.tables.candidates(self.missed)

    @cached_property
    def near_miss(self) -> NearMiss | None:
        """The nearest tunnel that lacks just one thing.

        To be down on top of it makes no tunnel less likely to be the one, unless only
        the remote differs: that fault alone needs the evidence of `_is_unheard`.
        """
        for candidate in self.candidates:
            faults = set(candidate.mismatches)
            others = faults - {Mismatch.DOWN} or {Mismatch.DOWN}
            if len(others) > 1:
                continue
            fault = others.pop()
            if fault is Mismatch.REMOTE and not self._is_unheard(candidate):
                continue
            return NearMiss(candidate.tunnel, fault, len(faults) > 1)
        return None

    def _is_unheard(self, candidate: Candidate) -> bool:
        """Whether a tunnel that expects another source seems to wait for this one.

        On a host with many tunnels every stray packet differs from each of them in the
        remote only. The one meant never received, or has fallen silent and is the only such.
        """
        if candidate.mismatches != (Mismatch.REMOTE,):
            return False
        rivals = [c.tunnel for c in self.candidates if c.mismatches == (Mismatch.REMOTE,)]
        traffic = {t.ifindex: self.traffic.get(t.ifindex) for t in rivals}
        never = [t for t in rivals if (seen := traffic[t.ifindex]) and not seen.received]
        if never:
            return candidate.tunnel in never
        silent = [
            t
            for t in rivals
            if not (seen := traffic[t.ifindex]) or not seen.received_while_watching
        ]
        return silent == [candidate.tunnel]

    def is_in_use(self, tunnel: Tunnel) -> bool:
        """Whether a tunnel receives packets these days, so that to change it would break it."""
        traffic = self.traffic.get(tunnel.ifindex)
        return bool(traffic and traffic.received_lately)

    @property
    def checksum_unverified(self) -> bool:
        """Whether the packet has a checksum of which too little was kept to compute it."""
        gre = self.packet.gre if self.packet else None
        return bool(gre and gre.has_checksum and gre.checksum_valid is None)
