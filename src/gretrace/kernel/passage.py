# SPDX-License-Identifier: GPL-2.0-only
"""What is known of a received GRE packet on its way: headers, tunnels, the state of the host."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from gretrace.kernel.kinds import ERSPAN, GRE_BASE, kind_of
from gretrace.kernel.lookup import Query, Tables
from gretrace.kernel.surroundings import Nowhere, Surroundings
from gretrace.model import (
    ETH_P_ERSPAN,
    ETH_P_IP,
    ETH_P_IPV6,
    ETH_P_WCCP,
    GreHeader,
    Packet,
    Tunnel,
)
from gretrace.wire.extensions import IPV6_SIZE
from gretrace.wire.packet import ETHERNET_SIZE, IPV4_MIN, lookup_key

IP_SIZES = {ETH_P_IP: IPV4_MIN, ETH_P_IPV6: IPV6_SIZE}
VLANS = (0x8100, 0x88A8)  # eth_type_vlan()
WCCP2_SIZE = 4
ERSPAN_BASE = 4  # struct erspan_base_hdr


@dataclass(frozen=True, slots=True)
class Carried:
    """What a tunnel has of a packet once its own headers are taken off."""

    protocol: int | None  # skb->protocol; None where too little was kept to read it
    length: int  # bytes from the inner IP header on; below zero if the frame ends before
    data: bytes = b""  # from there on, as far as it was kept
    tos: int | None = None  # of the IP header; None where too little was kept


@dataclass(frozen=True)
class Passage:
    """One packet, from where it came in to where it ended.

    `packet` has its outer headers. Over IPv6 a tunnel has taken them off before its last checks;
    then `device` is that tunnel, and `packet` what it carries, None if that is no IP packet.
    """

    packet: Packet | None
    tables: Tables | None
    link: int | None = None  # ifindex of the device on which it came
    host: Surroundings = field(default_factory=Nowhere)
    # By ifindex: i_seqno of struct ip_tunnel, the number after the last, 0 before the first.
    sequences: Mapping[int, int] | None = None  # None: not known
    device: Tunnel | None = None
    protocol: int | None = None  # skb->protocol, where it is no IP packet

    @property
    def outer(self) -> Packet | None:
        """The packet with its outer headers, if it still has them."""
        return None if self.device else self.packet

    @property
    def family(self) -> int | None:
        """4 or 6: the IP version of its outer header."""
        if self.device:
            return kind_of(self.device).family
        return self.packet.family if self.packet else None

    @property
    def gre(self) -> GreHeader | None:
        """Its GRE header, as far as it was kept."""
        return self.outer.gre if self.outer else None

    @property
    def length(self) -> int:
        """The bytes from the GRE header on."""
        return self.outer.gre_length if self.outer else 0

    @property
    def is_wccp(self) -> bool:
        """Whether gre_parse_header() takes it for WCCP, which has no flag at all set."""
        return bool(self.gre and self.gre.protocol == ETH_P_WCCP and not self.gre.flags)

    @property
    def has_session(self) -> bool:
        """Whether gre_parse_header() reads a session as its key: of any ERSPAN but type I."""
        gre = self.gre
        if gre is None or gre.protocol not in ERSPAN:
            return False
        return gre.protocol != ETH_P_ERSPAN or gre.size != GRE_BASE

    @property
    def has_erspan_header(self) -> bool:
        """Whether something is taken off as ERSPAN's header; over IPv6 there is no type I."""
        gre = self.gre
        return bool(gre and gre.protocol in ERSPAN and (self.has_session or self.family == 6))

    @cached_property
    def query(self) -> Query | None:
        """What a tunnel is looked up by; None where too little was kept to read it."""
        packet, gre = self.outer, self.gre
        if packet is None or gre is None or not gre.complete:
            return None
        if self.has_session and len(packet.payload) < ERSPAN_BASE:
            return None
        key = lookup_key(gre, packet.payload)
        return Query(packet.remote, packet.local, key, gre.protocol, self.link)

    @cached_property
    def tunnel(self) -> Tunnel | None:
        """The tunnel that takes it; None where there is none, or that cannot be told."""
        if self.device or self.query is None or self.tables is None:
            return self.device
        match = self.tables.lookup(self.query)
        return match.tunnel if match else None

    @property
    def own_header_size(self) -> int | None:
        """How long the header between GRE and what is carried is, of ERSPAN and WCCP version 2."""
        payload = self.outer.payload if self.outer else b""
        if not (self.has_erspan_header or self.is_wccp):
            return 0
        if not payload:
            return None
        if self.is_wccp:
            return 0 if payload[0] & 0xF0 == 0x40 else WCCP2_SIZE
        # erspan_hdr_len() of net/erspan.h
        return {0: 0, 1: 8}.get(payload[0] >> 4, 12)

    @cached_property
    def carried(self) -> Carried | None:
        """What the tunnel has once it took its headers off; None where that cannot be told."""
        if self.device:
            return self._carried_inside
        tunnel, packet, gre, own = self.tunnel, self.outer, self.gre, self.own_header_size
        if tunnel is None or packet is None or gre is None or own is None:
            return None
        data, length = packet.payload[own:], self.length - gre.size - own
        protocol: int | None = gre.protocol
        if self.is_wccp:
            protocol = ETH_P_IP if packet.family == 4 else ETH_P_IPV6
        if kind_of(tunnel).is_ethernet:
            protocol = int.from_bytes(data[12:14], "big") if len(data) >= ETHERNET_SIZE else None
            data, length = data[ETHERNET_SIZE:], length - ETHERNET_SIZE
        return Carried(protocol, length, data, _tos(protocol, data))

    @property
    def _carried_inside(self) -> Carried:
        packet = self.packet
        if packet is None:
            return Carried(self.protocol, 0)
        its_own = ETH_P_IP if packet.family == 4 else ETH_P_IPV6
        if self.protocol in IP_SIZES and self.protocol != its_own:
            # The tunnel goes by the protocol that was announced, whatever version it finds.
            return Carried(self.protocol, packet.length)
        return Carried(its_own, packet.length, tos=packet.tos)


def _tos(protocol: int | None, data: bytes) -> int | None:
    if len(data) < 2:
        return None
    if protocol == ETH_P_IP:
        return data[1]
    return int.from_bytes(data[:2], "big") >> 4 & 0xFF
