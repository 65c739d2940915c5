"""Everything a verdict may look at, gathered before it is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

from gretrace.commands import HERE, Netns
from gretrace.kernel.lookup import Candidate, Match, Mismatch, Pass, Query, Tables
from gretrace.kernel.receive import DEMUX_MINIMUM, VERSION_BITS
from gretrace.model import ETH_P_IPV6, GRE, Drop, Packet, Traffic, Tunnel
from gretrace.verdicts.surroundings import Nowhere, Surroundings
from gretrace.wire.packet import lookup_key

# The module whose gre_rcv() looks for a tunnel, by the family of the outer header.
RECEIVER = {4: "ip_gre", 6: "ip6_gre"}

# Where a tunnel that was found refuses a packet: ip_tunnel_rcv() of net/ipv4/ip_tunnel.c and
# __ip6_tnl_rcv() of net/ipv6/ip6_tunnel.c, which compilers may put into its caller.
REFUSERS = ("ip_tunnel_rcv", "__ip6_tnl_rcv", "ip6_tnl_rcv")


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
    def query(self) -> Query | None:
        """What the kernel looked a tunnel up by, if the packet got that far."""
        packet = self.packet
        if not packet or not packet.gre or not self.is_sound_gre:
            return None
        key = lookup_key(packet.gre, packet.payload)
        return Query(packet.remote, packet.local, key, packet.gre.protocol, self.drop.ifindex)

    @cached_property
    def is_sound_gre(self) -> bool:
        """Whether gre_rcv() and gre_parse_header() accept the header (net/ipv4/gre_demux.c)."""
        packet = self.packet
        if not packet or packet.protocol != GRE or not packet.gre:
            return False
        gre = packet.gre
        return (
            # IPv6 has no demultiplexer before ip6_gre.
            (packet.family == 6 or packet.gre_length >= DEMUX_MINIMUM)
            and gre.complete
            and not gre.flags & VERSION_BITS[packet.family]
            and not gre.has_routing
            and gre.checksum_valid is not False
        )

    @cached_property
    def missed(self) -> Query | None:
        """The lookup that found no tunnel, if that is how the packet died.

        The kernel frees such a packet in gre_rcv() of ip_gre or ip6_gre, where it also frees
        broken headers, and gives no reason; so the lookup is done again here.
        """
        if self.tables is None or not self.is_at_receiver or self.query is None:
            return None
        if self.is_looped or self.tables.lookup(self.query):
            return None
        return self.query

    @cached_property
    def is_looped(self) -> bool:
        """Whether it is a multicast packet of our own that came back from ip_mc_output().

        gre_rcv() of ip_gre drops such a packet before it parses the header.
        """
        packet = self.packet
        if not packet or packet.family != 4 or not packet.local.is_multicast:
            return False
        return self.is_at_receiver and self.host.route(packet.remote).is_own

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
        return self.drop.place.function in REFUSERS

    @property
    def is_at_receiver(self) -> bool:
        """Whether the packet died where tunnels receive: at its header, or in the lookup."""
        place, packet = self.drop.place, self.packet
        if place.function != "gre_rcv" or packet is None:
            return False
        return place.module in (RECEIVER[packet.family], None)

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
        if self.drop.place.function == "gre_rcv" or self.is_refused:
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
