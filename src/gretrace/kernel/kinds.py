# SPDX-License-Identifier: GPL-2.0-only
"""The kinds of GRE tunnel: one record each of what the kernel and iproute2 make of it.

Sizes are in bytes, and those that the kernel reckons a tunnel's MTU with: for IPv4
__gre_tunnel_init(), erspan_tunnel_init() and ip_tunnel_bind_dev(); for IPv6
ip6gre_calc_hlen(), ip6erspan_calc_hlen() and ip6gre_tnl_link_config_route().
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gretrace.model import ETH_P_ERSPAN, ETH_P_ERSPAN2, ETH_P_TEB, Tunnel
from gretrace.wire.packet import ETHERNET_SIZE, IP_SIZE

ERSPAN = (ETH_P_ERSPAN, ETH_P_ERSPAN2)
# What an Ethernet frame travels as.
FRAMES = (ETH_P_TEB, *ERSPAN)

GRE_BASE = 4
GRE_FIELD = 4  # checksum (with its reserved half word), key, sequence number (RFC 2784, RFC 2890)
TCP_SIZE = 20
# The destination option of RFC 2473 section 5.1, iproute2's "encaplimit".
LIMIT_SIZE = 8
DEFAULT_LIMIT = 4  # IPV6_DEFAULT_TNL_ENCAP_LIMIT, and iproute2's where it is told none
# fou_encap_hlen() and gue_encap_hlen() of net/ipv4/fou.c: a UDP header, and GUE's own.
ENCAPSULATIONS = {"fou": 8, "gue": 8 + 4}
REMOTE_CHECKSUM = 8  # GUE_LEN_PRIV and GUE_PLEN_REMCSUM of net/gue.h

# What ERSPAN's versions are called, by the number on the wire.
ERSPAN_TYPES = {0: "I", 1: "II", 2: "III"}
ETHERNET_MTU = 1500  # where the kernel knows no way to the remote
MODULES = {4: "ip_gre", 6: "ip6_gre"}  # by the IP version of the outer header
# IPV4_MIN_MTU and IPV6_MIN_MTU: by itself no tunnel gets less, whatever its underlay takes.
LEAST_MTU = {4: 68, 6: 1280}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of tunnel device (struct rtnl_link_ops)."""

    name: str  # rtnl_link_ops.kind, and iproute2's word for it
    family: int  # 4 or 6: the IP version of the outer header
    is_ethernet: bool  # carries frames (ARPHRD_ETHER), not IP packets
    table: str  # the hash table that has it
    fallback: str | None = None  # the device that the kernel itself makes, for what no tunnel takes
    # GRE header and what lies between it and the frame, by the version of ERSPAN: a sequence
    # number always, but for version 0, which is type I (erspan_hdr_len() of net/erspan.h).
    erspan: Mapping[int, int] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """The kernel module that makes it, and that receives for it."""
        return MODULES[self.family]

    @property
    def hop_limit(self) -> str:
        """What iproute2 calls its TTL."""
        return "ttl" if self.family == 4 else "hoplimit"

    def carries(self, protocol: int) -> bool:
        """Whether it is for a GRE protocol, of which the kernel asks in the lookup."""
        if self.is_ethernet != (protocol in FRAMES):
            return False
        # Over IPv6 all that carries frames is in one table, and is taken for any of them.
        return self.family == 6 or bool(self.erspan) == (protocol in ERSPAN)


_TYPE_I, _TYPE_II, _TYPE_III = {0: GRE_BASE}, {1: 8 + 8}, {2: 8 + 12}

_ALL = (
    Kind("gre", family=4, is_ethernet=False, table="gre", fallback="gre0"),
    Kind("gretap", family=4, is_ethernet=True, table="gretap", fallback="gretap0"),
    Kind(
        "erspan",
        family=4,
        is_ethernet=True,
        table="erspan",
        fallback="erspan0",
        erspan=_TYPE_I | _TYPE_II | _TYPE_III,
    ),
    Kind("ip6gre", family=6, is_ethernet=False, table="ip6gre", fallback="ip6gre0"),
    Kind("ip6gretap", family=6, is_ethernet=True, table="ip6gre"),
    Kind("ip6erspan", family=6, is_ethernet=True, table="ip6gre", erspan=_TYPE_II | _TYPE_III),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
FALLBACKS = tuple(kind.fallback for kind in _ALL if kind.fallback)


def kind_of(tunnel: Tunnel) -> Kind:
    """Return the record of a tunnel's kind."""
    return KINDS[tunnel.kind]


def unpacker_of(family: int, protocol: int) -> Kind:
    """Return the kind of tunnel that a GRE protocol is for, over IPv4 or IPv6."""
    fitting = (kind for kind in _ALL if kind.family == family and kind.carries(protocol))
    # Of those that take any frame, the one whose own it is.
    return min(fitting, key=lambda kind: bool(kind.erspan) != (protocol in ERSPAN))


def erspan_version(protocol: int, key: int | None) -> int:
    """Return the version of ERSPAN that packets of a protocol have, with a session as key or none.

    1 for what is no ERSPAN.
    """
    if protocol == ETH_P_ERSPAN2:
        return 2
    return 0 if protocol == ETH_P_ERSPAN and key is None else 1


def is_other_erspan(tunnel: Tunnel, protocol: int, key: int | None) -> bool:
    """Whether a tunnel and packets are of ERSPAN, and one of the two of type I, without session.

    II and III are no others to each other: the kernel takes either by a tunnel of either.
    """
    is_erspan = bool(kind_of(tunnel).erspan) and protocol in ERSPAN
    return is_erspan and (tunnel.ikey is None) != (key is None)


def tables_of(family: int, protocol: int) -> Sequence[str]:
    """Return the hash tables in which a packet is looked up, in this order."""
    own = unpacker_of(family, protocol).table
    if family == 4 and protocol == ETH_P_TEB:
        # A frame that no gretap tunnel takes is offered to the gre tunnels as well: v4.7,
        # "gre: receive also TEB packets for lwtunnels". Meant for external ones, but any
        # may win.
        return own, KINDS["gre"].table
    return (own,)


def overhead(tunnel: Tunnel) -> int:
    """Return the bytes that a tunnel puts before what its MTU counts."""
    kind = kind_of(tunnel)
    if kind.erspan:
        size = kind.erspan.get(tunnel.erspan_version, max(kind.erspan.values()))
    else:
        fields = (tunnel.okey is not None) + tunnel.ocsum + tunnel.oseq
        size = GRE_BASE + GRE_FIELD * fields
    size += IP_SIZE[kind.family]
    size += ETHERNET_SIZE if kind.is_ethernet else 0
    if kind.family == 6 and tunnel.encap_limit is not None:
        size += LIMIT_SIZE
    if encap := tunnel.encap:
        size += ENCAPSULATIONS[encap.type] + (REMOTE_CHECKSUM if encap.remcsum else 0)
    return size


def mtu_that_fits(underlay: int, tunnel: Tunnel) -> int:
    """Return the largest MTU of a tunnel whose packets fit the underlay's."""
    return underlay - overhead(tunnel)


def default_mtu(tunnel: Tunnel, underlay: int = ETHERNET_MTU) -> int:
    """Return the MTU that the kernel gives a tunnel that is told none."""
    return max(mtu_that_fits(underlay, tunnel), LEAST_MTU[kind_of(tunnel).family])


def largest_segment(mtu: int, family: int) -> int:
    """Return the most that a TCP segment can carry in a packet without IP or TCP options."""
    return mtu - IP_SIZE[family] - TCP_SIZE
