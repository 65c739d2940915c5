# SPDX-License-Identifier: GPL-2.0-only
"""A tunnel out of the attributes of its link (IFLA_GRE_* of linux/if_tunnel.h)."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

from gretrace.host.framing import number_in
from gretrace.host.netlink import Link
from gretrace.kernel.kinds import FALLBACKS, KINDS, Kind
from gretrace.model import Address, Encap, Tunnel

KIND_ORDER = {kind: place for place, kind in enumerate(KINDS)}
IFF_UP = 1
# uapi/linux/if_tunnel.h, read as big-endian numbers.
GRE_CSUM, GRE_KEY, GRE_SEQ = 0x8000, 0x2000, 0x1000
# enum tunnel_encap_types, and the flags of TUNNEL_ENCAP_FLAG_*.
ENCAP_TYPES = {1: "fou", 2: "gue"}
ENCAP_CSUM, ENCAP_CSUM6, ENCAP_REMCSUM = 1, 2, 4
IGNORE_ENCAP_LIMIT = 1  # IP6_TNL_F_IGN_ENCAP_LIMIT of linux/ip6_tunnel.h
IPV4_SIZE = 4


def place_of(tunnel: Tunnel) -> tuple[int, int]:
    """Return by what tunnels of a namespace are in order: kind, then index."""
    return KIND_ORDER[tunnel.kind], tunnel.ifindex


def tunnels_in(links: Sequence[Link], netns: int) -> list[Tunnel]:
    """Read the tunnels among all links of a namespace, in their order."""
    names = {link.index: link.name for link in links}
    read = [
        read_tunnel(link, kind, netns, names)
        for link in links
        if (kind := KINDS.get(link.kind or ""))
    ]
    return sorted(read, key=place_of)


def read_tunnel(link: Link, kind: Kind, netns: int, names: Mapping[int, str]) -> Tunnel:
    """Read a link of a kind of tunnel; `names` are those of the links in its namespace."""
    gre = link.gre()
    iflags, oflags = _number(gre, "IFLA_GRE_IFLAGS"), _number(gre, "IFLA_GRE_OFLAGS")
    ikey = _number(gre, "IFLA_GRE_IKEY")
    bound_to = _own_number(gre, "IFLA_GRE_LINK")
    return Tunnel(
        name=link.name,
        ifindex=link.index,
        netns=netns,
        kind=kind.name,
        local=_address(gre, "IFLA_GRE_LOCAL"),
        remote=_address(gre, "IFLA_GRE_REMOTE"),
        ikey=ikey if iflags & GRE_KEY else None,
        okey=_number(gre, "IFLA_GRE_OKEY") if oflags & GRE_KEY else None,
        icsum=bool(iflags & GRE_CSUM),
        ocsum=bool(oflags & GRE_CSUM),
        iseq=bool(iflags & GRE_SEQ),
        oseq=bool(oflags & GRE_SEQ),
        link=bound_to,
        link_name=None if link.is_bound_elsewhere else names.get(bound_to),
        up=bool(link.flags & IFF_UP),
        external="IFLA_GRE_COLLECT_METADATA" in gre,
        # net/ipv4/ip_gre.c and net/ipv6/ip6_gre.c make them in every namespace; only their
        # names tell.
        fallback=link.name in FALLBACKS,
        ttl=_number(gre, "IFLA_GRE_TTL"),
        tos=_number(gre, "IFLA_GRE_TOS"),
        pmtudisc=bool(_number(gre, "IFLA_GRE_PMTUDISC")),
        ignore_df=bool(_number(gre, "IFLA_GRE_IGNORE_DF")),
        mtu=link.mtu,
        # A tunnel's link is in the namespace in which it was made (ip_tunnel_get_link_net()).
        moved=link.is_bound_elsewhere,
        stray_ikey=0 if iflags & GRE_KEY else ikey,
        erspan_version=_number(gre, "IFLA_GRE_ERSPAN_VER") if kind.erspan else 1,
        encap_limit=_encap_limit(gre) if kind.family == 6 else None,
        encap=_encap(gre),
    )


def _encap_limit(gre: Mapping[str, bytes]) -> int | None:
    if _own_number(gre, "IFLA_GRE_FLAGS") & IGNORE_ENCAP_LIMIT:
        return None
    return _number(gre, "IFLA_GRE_ENCAP_LIMIT")


def _encap(gre: Mapping[str, bytes]) -> Encap | None:
    type_ = ENCAP_TYPES.get(_own_number(gre, "IFLA_GRE_ENCAP_TYPE"))
    if type_ is None:
        return None
    flags = _own_number(gre, "IFLA_GRE_ENCAP_FLAGS")
    return Encap(
        type_,
        sport=_number(gre, "IFLA_GRE_ENCAP_SPORT"),
        dport=_number(gre, "IFLA_GRE_ENCAP_DPORT"),
        csum=bool(flags & ENCAP_CSUM),
        csum6=bool(flags & ENCAP_CSUM6),
        remcsum=bool(flags & ENCAP_REMCSUM),
    )


def _number(gre: Mapping[str, bytes], name: str) -> int:
    """Read a number of one byte or in network byte order; 0 where there is none."""
    return int.from_bytes(gre.get(name, b""), "big")


def _own_number(gre: Mapping[str, bytes], name: str) -> int:
    """Read a number in the byte order of this machine; 0 where there is none."""
    return number_in(gre.get(name, b""))


def _address(gre: Mapping[str, bytes], name: str) -> Address | None:
    packed = gre.get(name, b"")
    # "any" is told as zero, or not at all.
    if not any(packed):
        return None
    return IPv4Address(packed) if len(packed) == IPV4_SIZE else IPv6Address(packed)
