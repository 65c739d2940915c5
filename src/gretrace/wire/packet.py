# SPDX-License-Identifier: GPL-2.0-only
"""IP and GRE headers out of the first bytes of a packet.

Total: whatever the bytes are, the answer is as much as can be known, and nothing is raised.
"""

import struct
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from gretrace.model import (
    ETH_P_ERSPAN,
    ETH_P_ERSPAN2,
    ETH_P_IP,
    ETH_P_IPV6,
    ETH_P_TEB,
    ETH_P_WCCP,
    GRE,
    Address,
    GreHeader,
    Inner,
    Packet,
)
from gretrace.wire.extensions import IPV6_SIZE, skip_extensions

IPV4_MIN = 20
UDP, UDP_SIZE = 17, 8
GUE_SIZE = 4  # and four bytes for each word of options
# What a keepalive carries behind its GRE header, in bytes: nothing, or OpenBSD's time, a random
# number and SipHash-2-4 (gre(4)).
KEEPALIVE_BODIES = (0, 16)
# ICMP and ICMPv6, and what they call an echo reply, by the version of IP
ICMP = (1, 58)
ECHO_REPLY = {4: 0, 6: 129}
ETHERNET_SIZE = 14
IP_SIZE = {4: IPV4_MIN, 6: IPV6_SIZE}  # of an IP header without options, by version
ERSPAN_SESSION = 0x3FF  # of the second half of struct erspan_base_hdr's first word
OPTIONAL_FIELDS = 0xF000  # checksum, routing, key, sequence

# struct iphdr from its first byte to its addresses, the checksum left out.
_IPV4 = struct.Struct("!BBH2xHBB2x4s4s")


class _Written:
    """An address that a report names again and again: its text is made once."""

    @cached_property
    def _text(self) -> str:
        return super().__str__()

    def __str__(self) -> str:
        return self._text


class _Ipv4(_Written, IPv4Address):
    pass


class _Ipv6(_Written, IPv6Address):
    pass


# Peers are few, or their packets come one soon after the other.
_PEERS = 4096
_ipv4, _ipv6 = lru_cache(_PEERS)(_Ipv4), lru_cache(_PEERS)(_Ipv6)


def parse_packet(data: bytes, length: int | None = None, *, in_udp: bool = False) -> Packet | None:
    """Read a packet from its IP header on.

    `data` may be only the beginning of a packet of `length` bytes. `in_udp`: UDP is to be read
    as FOU or GUE, which took its length off the one that the IP header says. None when it does
    not begin with a whole IPv4 or IPv6 header.
    """
    header = _parse_ip(data)
    if header is None:
        return None
    offset, protocol, port, around = header.size, header.protocol, None, None
    if in_udp and protocol == UDP and (size := gre_in_udp(data[offset:])):
        port = int.from_bytes(data[offset + 2 : offset + 4], "big")
        offset, protocol = offset + size, GRE
        around = "fou" if size == UDP_SIZE else "gue"
    elif header.stated >= IPV4_MIN:
        # Ethernet pads short frames; what lies behind the IP packet is no part of it.
        data = data[: header.stated]
    length = max(length or 0, len(data))
    gre, gre_length, payload, inner = None, 0, b"", None
    if protocol == GRE and not header.is_fragment and offset <= len(data):
        gre, size = parse_gre(data[offset:], is_whole=len(data) == length)
        gre_length = length - offset
        payload = data[offset + size :] if gre and gre.complete else b""
        inner = _parse_inner(gre.protocol, payload) if gre else None
    return Packet(
        header.source,
        header.destination,
        protocol,
        length,
        gre,
        gre_length,
        payload,
        inner,
        header.is_fragment,
        header.tos,
        header.must_not_fragment,
        header.ttl,
        _icmp_type(header, data),
        port,
        around,
        header.limit,
    )


def gre_in_udp(data: bytes) -> int | None:
    """Return how far from the beginning of a UDP header GRE begins; None where there is none.

    FOU has it right behind (net/ipv4/fou_core.c), GUE behind a header of its own: version 0,
    no control message, the protocol in the second byte (struct guehdr of net/gue.h).
    """
    if len(data) < UDP_SIZE + 2:
        return None
    first, second = data[UDP_SIZE], data[UDP_SIZE + 1]
    if not first & 0xE0 and second == GRE:
        return UDP_SIZE + GUE_SIZE + 4 * (first & 0x1F)
    # Flags of GRE that Linux takes; what else FOU carries does not begin so.
    return UDP_SIZE if not first & 0x4F and not second else None


def parse_gre(data: bytes, *, is_whole: bool = False) -> tuple[GreHeader | None, int]:
    """Read a GRE header; of a packet that is whole, the checksum is verified.

    The second value is the header's size in bytes (gre_calc_hlen() of the kernel).
    """
    if len(data) < 4:
        return None, 0
    flags = int.from_bytes(data[0:2], "big")
    protocol = int.from_bytes(data[2:4], "big")
    offset = 4
    key = sequence = None
    # RFC 1701 has checksum and offset together, present if either C or R is set.
    if flags & 0xC000:
        offset += 4
    if flags & 0x2000:
        if offset + 4 <= len(data):
            key = int.from_bytes(data[offset : offset + 4], "big")
        offset += 4
    if flags & 0x1000:
        if offset + 4 <= len(data):
            sequence = int.from_bytes(data[offset : offset + 4], "big")
        offset += 4
    complete = offset <= len(data)
    verified = internet_checksum(data) == 0 if is_whole and complete and flags & 0x8000 else None
    return GreHeader(flags, protocol, key, sequence, complete, verified), offset


def lookup_key(gre: GreHeader, payload: bytes) -> int | None:
    """Return what gre_parse_header() has a tunnel looked up by: the key, or ERSPAN's session.

    ERSPAN has its session in ten bits of its own header, but for type I, which has none.
    """
    is_type_one = gre.protocol == ETH_P_ERSPAN and not gre.flags & OPTIONAL_FIELDS
    if gre.protocol not in (ETH_P_ERSPAN, ETH_P_ERSPAN2) or is_type_one:
        return gre.key
    return int.from_bytes(payload[2:4], "big") & ERSPAN_SESSION


def build_answer(local: Address, remote: Address) -> bytes:
    """Build what a keepalive carries: the packet from us to the peer that is to come back."""
    if local.version == 4:
        return _build_ipv4(local, remote, _gre_header(0))
    # RouterOS is the one that sends keepalives over IPv6, and this is its protocol.
    return _build_ipv6(local, remote, _gre_header(ETH_P_IPV6))


def build_keepalive(local: Address, remote: Address, flags: int, key: int) -> bytes:
    """Build the keepalive that a peer sends us; `flags` are those of its outer GRE header."""
    answer = build_answer(local, remote)
    if local.version == 4:
        return _build_ipv4(remote, local, _gre_header(ETH_P_IP, flags, key, answer))
    return _build_ipv6(remote, local, _gre_header(ETH_P_IPV6, flags, key, answer))


def _gre_header(protocol: int, flags: int = 0, key: int = 0, payload: bytes = b"") -> bytes:
    header = bytearray(flags.to_bytes(2, "big") + protocol.to_bytes(2, "big"))
    header += bytes(4) if flags & 0x8000 else b""
    header += key.to_bytes(4, "big") if flags & 0x2000 else b""
    header += (1).to_bytes(4, "big") if flags & 0x1000 else b""
    packet = header + payload
    if flags & 0x8000:
        packet[4:6] = internet_checksum(bytes(packet)).to_bytes(2, "big")
    return bytes(packet)


def _build_ipv4(source: Address, destination: Address, payload: bytes) -> bytes:
    header = bytearray(b"\x45\0" + (IPV4_MIN + len(payload)).to_bytes(2, "big") + bytes(4))
    header += bytes([255, GRE, 0, 0]) + source.packed + destination.packed
    header[10:12] = internet_checksum(bytes(header)).to_bytes(2, "big")
    return bytes(header) + payload


def _build_ipv6(source: Address, destination: Address, payload: bytes) -> bytes:
    header = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes([GRE, 255])
    return header + source.packed + destination.packed + payload


def internet_checksum(data: bytes) -> int:
    """Compute the checksum of RFC 1071; over data that holds its own, it is 0."""
    number = int.from_bytes(data, "big") << 8 * (len(data) % 2)
    # A sum in ones' complement is the rest of a division by 0xffff, which it has for its zero.
    total = number % 0xFFFF or (0xFFFF if number else 0)
    return ~total & 0xFFFF


class _IpHeader(NamedTuple):
    source: Address
    destination: Address
    protocol: int
    size: int  # offset of the payload, in bytes
    tos: int
    stated: int = 0  # the length of the packet, where IPv4 says it
    is_fragment: bool = False  # a later one
    must_not_fragment: bool = False
    ttl: int | None = None
    limit: int | None = None


def _parse_ip(data: bytes) -> _IpHeader | None:
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= IPV4_MIN:
        first, tos, length, fragment, ttl, protocol, source, destination = _IPV4.unpack_from(data)
        offset = (first & 0xF) * 4
        if offset < IPV4_MIN:
            return None
        return _IpHeader(
            _ipv4(source),
            _ipv4(destination),
            protocol,
            offset,
            tos,
            length,
            fragment & 0x1FFF != 0,
            fragment & 0x4000 != 0,
            ttl,
        )
    if version == 6 and len(data) >= IPV6_SIZE:
        protocol, offset, is_fragment, limit = skip_extensions(data)
        tos = int.from_bytes(data[:2], "big") >> 4 & 0xFF
        ends = _ipv6(data[8:24]), _ipv6(data[24:40])
        return _IpHeader(
            *ends, protocol, offset, tos, is_fragment=is_fragment, ttl=data[7], limit=limit
        )
    return None


def _icmp_type(header: _IpHeader, data: bytes) -> int | None:
    is_there = header.protocol in ICMP and not header.is_fragment and header.size < len(data)
    return data[header.size] if is_there else None


def _parse_inner(protocol: int, data: bytes) -> Inner | None:
    if protocol == ETH_P_TEB and len(data) >= ETHERNET_SIZE:
        protocol, data = int.from_bytes(data[12:14], "big"), data[ETHERNET_SIZE:]
    if protocol == ETH_P_WCCP:
        # WCCPv2 puts four bytes of its own before the packet (gre_parse_header()).
        protocol, data = ETH_P_IP, data if data[:1] and data[0] >> 4 == 4 else data[4:]
    if protocol not in (ETH_P_IP, ETH_P_IPV6):
        return None
    header = _parse_ip(data)
    if header is None:
        return None
    return Inner(
        header.source, header.destination, header.protocol, header.tos, _icmp_type(header, data)
    )
