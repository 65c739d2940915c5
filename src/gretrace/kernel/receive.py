"""The kernel's way of a received GRE packet, up to where the tunnel has taken it."""

from dataclasses import dataclass

from gretrace.kernel.kinds import kind_of
from gretrace.kernel.lookup import Query, Tables
from gretrace.model import (
    ETH_P_ERSPAN,
    ETH_P_ERSPAN2,
    ETH_P_IP,
    ETH_P_IPV6,
    ETH_P_WCCP,
    GreHeader,
    Packet,
    Place,
    Tunnel,
)
from gretrace.wire.packet import ETHERNET_SIZE, IPV4_MIN, IPV6_SIZE, lookup_key

DEMUX = Place("gre_rcv", "gre")
RECEIVER = {4: Place("gre_rcv", "ip_gre"), 6: Place("gre_rcv", "ip6_gre")}
TUNNEL = {4: Place("ip_tunnel_rcv", "ip_tunnel"), 6: Place("__ip6_tnl_rcv", "ip6_tunnel")}

# gre_rcv() of net/ipv4/gre_demux.c wants this much before it looks at the version.
DEMUX_MINIMUM = 12

# Which bits must be zero to make version 0: the demultiplexer of IPv4 takes the reserved bits
# of RFC 2784 for a part of it.
VERSION_BITS = {4: 0x7F, 6: 0x07}

BASE_SIZE = 4
WORD = 4  # the size of a field of the GRE header, of WCCP's and the least of ERSPAN's

ECN_MASK = ECN_CE = 3  # RFC 3168
IP_SIZES = {ETH_P_IP: IPV4_MIN, ETH_P_IPV6: IPV6_SIZE}
NUMBERS = 1 << 32


@dataclass(frozen=True, slots=True)
class Refusal:
    """Where the kernel would have freed a packet."""

    place: Place
    step: str  # what it did there; at one place it can be several things
    is_pulled: bool = False


class Receiver:
    """Receives packets as the kernel would; remembers what it remembers, the sequence numbers."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        # By ifindex; as i_seqno of struct ip_tunnel, 0 before the first packet.
        self._expected: dict[int, int] = {}

    def receive(self, packet: Packet, link: int) -> Tunnel | Refusal | None:
        """Return the tunnel that takes a packet, or where it would have been freed.

        None when too little of it was captured to tell.
        """
        refusal = header_fault(packet)
        if refusal:
            return refusal
        gre = packet.gre
        if gre is None or not gre.complete:
            return None
        query = lookup_query(packet, gre, link)
        if isinstance(query, Refusal) or query is None:
            return query
        match = self._tables.lookup(query)
        if match is None:
            return Refusal(RECEIVER[packet.family], "lookup")
        tunnel = match.tunnel
        return self._policy_fault(tunnel, gre) or inner_fault(tunnel, packet, gre) or tunnel

    def _policy_fault(self, tunnel: Tunnel, gre: GreHeader) -> Refusal | None:
        place = TUNNEL[kind_of(tunnel).family]
        if gre.has_checksum != tunnel.icsum:
            return Refusal(place, "checksum")
        if not tunnel.iseq:
            return None
        if gre.sequence is None:
            return Refusal(place, "sequence")
        expected = self._expected.get(tunnel.ifindex, 0)
        if expected and (gre.sequence - expected) % NUMBERS >= NUMBERS // 2:
            return Refusal(place, "order")
        self._expected[tunnel.ifindex] = (gre.sequence + 1) % NUMBERS
        return None


def header_size(gre: GreHeader) -> int:
    """Return how many bytes a GRE header announces (gre_calc_hlen() of net/gre.h)."""
    return BASE_SIZE + WORD * (gre.has_checksum + gre.has_key + gre.has_sequence)


def header_fault(packet: Packet) -> Refusal | None:
    """Tell where a header ends its packet; None where it is sound or too little was captured."""
    gre, receiver = packet.gre, RECEIVER[packet.family]
    # IPv6 has no demultiplexer.
    if packet.family == 4 and packet.gre_length < DEMUX_MINIMUM:
        return Refusal(DEMUX, "size")
    if packet.gre_length < BASE_SIZE:
        return Refusal(receiver, "size")
    if gre is None:
        return None
    if packet.family == 4 and gre.flags & VERSION_BITS[4]:
        return Refusal(DEMUX, "version")
    if gre.version or gre.has_routing:
        return Refusal(receiver, "flags")
    if header_size(gre) > packet.gre_length:
        return Refusal(receiver, "size")
    if gre.checksum_valid is False:
        return Refusal(receiver, "checksum")
    return None


def lookup_query(packet: Packet, gre: GreHeader, link: int) -> Query | Refusal | None:
    """Return what a tunnel is looked up by, as gre_parse_header() of gre_demux.c reads it."""
    protocol, size = gre.protocol, header_size(gre)
    is_erspan = protocol == ETH_P_ERSPAN2 or (protocol == ETH_P_ERSPAN and size > BASE_SIZE)
    is_wccp = protocol == ETH_P_WCCP and not gre.flags
    if is_erspan or is_wccp:
        if packet.gre_length < size + WORD:
            return Refusal(RECEIVER[packet.family], "size")
        if len(packet.payload) < WORD:
            return None
    key = lookup_key(gre, packet.payload)
    if is_wccp:
        protocol = ETH_P_IP if packet.family == 4 else ETH_P_IPV6
    return Query(packet.remote, packet.local, key, protocol, link)


def inner_fault(tunnel: Tunnel, packet: Packet, gre: GreHeader) -> Refusal | None:
    """Tell where what a packet carries ends it, once the tunnel has taken off its header."""
    protocol, length = gre.protocol, packet.gre_length - header_size(gre)
    if protocol in (ETH_P_ERSPAN, ETH_P_ERSPAN2, ETH_P_WCCP):
        # They have headers of their own, and no such fault was ever met.
        return None
    needed = 0
    if kind_of(tunnel).is_ethernet:
        if length < ETHERNET_SIZE:
            # IPv4's __ipgre_rcv() looks for it, before the tunnel itself does.
            return Refusal((RECEIVER if packet.family == 4 else TUNNEL)[packet.family], "size")
        protocol, needed = int.from_bytes(packet.payload[12:14], "big"), ETHERNET_SIZE
    if length < needed + IP_SIZES.get(protocol, 0):
        return Refusal(TUNNEL[packet.family], "inner size", is_pulled=True)
    # IP_ECN_decapsulate() of net/inet_ecn.h
    inner = packet.inner if protocol in IP_SIZES else None
    if inner and packet.tos & ECN_MASK == ECN_CE and not inner.tos & ECN_MASK:
        return Refusal(TUNNEL[packet.family], "congestion", is_pulled=True)
    return None
