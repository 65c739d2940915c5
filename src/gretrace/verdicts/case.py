# SPDX-License-Identifier: GPL-2.0-only
"""Everything a verdict may look at, gathered before it is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

from gretrace.commands import HERE, Netns
from gretrace.kernel import receive, send, stack
from gretrace.kernel.kinds import kind_of
from gretrace.kernel.lookup import Candidate, Match, Pass, Query, Tables
from gretrace.kernel.outgoing import Sending, sending_of
from gretrace.kernel.passage import Passage
from gretrace.kernel.stay import Stay
from gretrace.kernel.surroundings import Nowhere, Surroundings
from gretrace.kernel.way import Step
from gretrace.model import (
    ETH_P_IPV6,
    GRE,
    Address,
    Device,
    Drop,
    Packet,
    Route,
    Traffic,
    Tunnel,
)
from gretrace.verdicts.near import NearMiss, find_near_miss, is_in_use
from gretrace.verdicts.returned import carries_own_answer, sent_to_itself
from gretrace.wire.packet import KEEPALIVE_BODIES


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
            is_sent=drop.is_sent or drop.leaving_by != 0,
            is_passing=drop.leaving_by != 0,
            is_wrapped=self.is_wrapped,
            is_external=bool(drop.on_tunnel and carrier and carrier.external),
            vrf=self.vrf.vrf_ifindex if self.vrf else None,
        )

    @cached_property
    def vrf(self) -> Device | None:
        """The drop's device, if it is in a VRF, whose routes and rules its packets then meet.

        l3mdev_l3_rcv() puts the VRF in its place; settings stay those of the device itself,
        which ip_rcv_finish() has remembered.
        """
        device = self.host.device(self.drop.ifindex)
        return device if device and device.vrf else None

    def route(self, address: Address) -> Route:
        """Return the way that the kernel would send to an address from where the drop was."""
        return self.stay.route(address)

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
        # What a way depends on may be expensive to ask for.
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
        if self.own_remote or not self.tables or not self.is_at(receive.no_tunnel):
            return None
        return self.query

    @cached_property
    def fits_elsewhere(self) -> tuple[Netns | None, Match] | None:
        """The tunnel that fits but receives elsewhere, where none here comes near.

        With its namespace, None for a tunnel that is here and was made elsewhere.
        """
        if self.missed is None or self.near_miss or self.tables is None:
            return None
        query = replace(self.missed, link=None)
        moved = [replace(t, moved=False) for t in self.tables.tunnels if t.moved]
        for there, tables in chain([(None, Tables(moved))], self.host.elsewhere().found):
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
            and packet.gre_length - packet.gre.size in KEEPALIVE_BODIES
            and tunnel.local in (None, packet.remote)
            and tunnel.remote in (None, packet.local)
        )

    @property
    def delivered(self) -> Packet | None:
        """The inner packet that a tunnel of the user's has received, and that died after it."""
        if self.is_health_check or self.is_echoed or self.own_remote:
            return None
        return self._received

    @property
    def _received(self) -> Packet | None:
        if not self.drop.on_tunnel or self.drop.is_sent or self.is_keepalive:
            return None
        return None if self.carrier and self.carrier.fallback else self.packet

    @cached_property
    def is_health_check(self) -> bool:
        """Whether it is a probe that carries its own answer: an echo reply from us to the peer."""
        return carries_own_answer(self._received, self.carrier, self.route)

    @property
    def anywhere(self) -> Tunnel | None:
        """The tunnel of IP without a remote (NBMA) on whose device the packet died."""
        tunnel = self.carrier
        if tunnel is None or tunnel.remote or tunnel.external or tunnel.fallback:
            return None
        return None if kind_of(tunnel).is_ethernet else tunnel

    @cached_property
    def is_echoed(self) -> bool:
        """Whether a tunnel to anywhere sent to its own local address, for want of another."""
        packet = self._received if self.anywhere else None
        if packet is None or not self.route(packet.remote).is_own:
            return False
        return not self.route(packet.local).is_own

    @cached_property
    def own_remote(self) -> Tunnel | None:
        """The tunnel whose remote is an address of this host, so that this came back to it."""
        if not self.drop.on_tunnel:
            return sent_to_itself(self.drop, self.tables)
        tunnel, inside = self.carrier, self._received
        if tunnel is None or tunnel.remote is None or inside is None:
            return None
        is_own = self.host.route(tunnel.remote).is_own and self.route(inside.remote).is_own
        return tunnel if is_own else None

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The tunnels that are nearest to the missed lookup, the nearest first."""
        if self.tables is None or self.missed is None:
            return []
        return self.tables.candidates(self.missed)

    @cached_property
    def near_miss(self) -> NearMiss | None:
        """The nearest tunnel that lacks just one thing, with those that are as near."""
        gre = self.packet.gre if self.packet else None
        return find_near_miss(self.candidates, gre, self.traffic)

    def is_in_use(self, tunnel: Tunnel) -> bool:
        """Whether a tunnel has ever heard its peer, so that to change it may take it away."""
        return is_in_use(tunnel, self.traffic)

    def is_heard(self, tunnel: Tunnel) -> bool:
        """Whether a tunnel has received packets since gretrace watches."""
        traffic = self.traffic.get(tunnel.ifindex)
        return bool(traffic and traffic.received_while_watching)

    def can_be_local(self, address: Address) -> bool:
        """Whether a tunnel could have an address as its own: not one that many hosts share."""
        return not (address.is_multicast or self.host.route(address).is_broadcast)

    @property
    def checksum_unverified(self) -> bool:
        """Whether the packet has a checksum that nobody can tell right from wrong here."""
        gre = self.packet.gre if self.packet else None
        return bool(gre and gre.has_checksum and gre.checksum_valid is None)
