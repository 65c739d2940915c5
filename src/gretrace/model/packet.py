# SPDX-License-Identifier: GPL-2.0-only
"""Packets as far as their headers were there."""

from dataclasses import dataclass

from gretrace.model.protocols import Address


@dataclass(frozen=True, slots=True)
class GreHeader:
    """A GRE header (RFC 2784 section 2, RFC 2890 section 2) as far as it was there."""

    flags: int  # the first 16 bits, as on the wire
    protocol: int
    key: int | None
    sequence: int | None
    complete: bool  # every field that the flags announce lies within the packet
    # None: there is none, or nobody can tell: too few bytes, or it is not filled in yet.
    checksum_valid: bool | None = None

    @property
    def has_checksum(self) -> bool:
        """Whether the C bit is set."""
        return bool(self.flags & 0x8000)

    @property
    def has_routing(self) -> bool:
        """Whether the R bit is set, which Linux refuses."""
        return bool(self.flags & 0x4000)

    @property
    def has_key(self) -> bool:
        """Whether the K bit is set."""
        return bool(self.flags & 0x2000)

    @property
    def has_sequence(self) -> bool:
        """Whether the S bit is set."""
        return bool(self.flags & 0x1000)

    @property
    def version(self) -> int:
        """0 for GRE, 1 for PPTP's (RFC 2637)."""
        return self.flags & 0x7

    @property
    def size(self) -> int:
        """How many bytes its flags announce (gre_calc_hlen() of net/gre.h)."""
        return 4 + 4 * (self.has_checksum + self.has_key + self.has_sequence)


@dataclass(frozen=True, slots=True)
class Inner:
    """The IP header that a GRE packet carries."""

    source: Address
    destination: Address
    protocol: int
    tos: int = 0  # IPv4's type of service, IPv6's traffic class
    icmp_type: int | None = None  # of ICMP or ICMPv6


@dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet, seen from the host that received it: remote is its source."""

    remote: Address
    local: Address
    protocol: int
    length: int  # bytes from the first byte of this IP header on
    gre: GreHeader | None = None
    gre_length: int = 0  # bytes from the GRE header's first byte to the packet's end
    payload: bytes = b""  # what the GRE header carries, as far as it was there
    inner: Inner | None = None
    is_fragment: bool = False  # a later fragment: its payload begins with no header
    tos: int = 0  # IPv4's type of service, IPv6's traffic class
    must_not_fragment: bool = False  # IPv4's DF bit; IPv6 never fragments on the way
    ttl: int | None = None  # IPv6's hop limit
    icmp_type: int | None = None  # of ICMP or ICMPv6, where that is what it is
    udp_port: int | None = None  # the destination, where GRE comes in UDP (FOU, GUE)
    udp_type: str | None = None  # which of them: fou or gue
    # Of RFC 2473: how many tunnels may still be put around a packet of IPv6; None: it does not say.
    encap_limit: int | None = None

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.remote.version
