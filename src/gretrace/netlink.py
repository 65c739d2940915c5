"""How pyroute2 reads the attributes of a GRE link (IFLA_GRE_* of linux/if_tunnel.h).

pyroute2 knows no erspan, and takes the flags of an IPv6 tunnel in the wrong byte order;
so all six kinds are described here, alike for both families.
"""

from typing import ClassVar

from pyroute2.netlink import nla
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

Attributes = tuple[tuple[str, str], ...]


def _attributes(address: str) -> Attributes:
    """Name the attributes in the order of the kernel's enum; `address` is pyroute2's type."""
    return (
        ("IFLA_GRE_UNSPEC", "none"),
        ("IFLA_GRE_LINK", "uint32"),
        ("IFLA_GRE_IFLAGS", "be16"),
        ("IFLA_GRE_OFLAGS", "be16"),
        ("IFLA_GRE_IKEY", "be32"),
        ("IFLA_GRE_OKEY", "be32"),
        ("IFLA_GRE_LOCAL", address),
        ("IFLA_GRE_REMOTE", address),
        ("IFLA_GRE_TTL", "uint8"),
        ("IFLA_GRE_TOS", "uint8"),
        ("IFLA_GRE_PMTUDISC", "uint8"),
        ("IFLA_GRE_ENCAP_LIMIT", "uint8"),
        ("IFLA_GRE_FLOWINFO", "be32"),
        ("IFLA_GRE_FLAGS", "uint32"),
        ("IFLA_GRE_ENCAP_TYPE", "uint16"),
        ("IFLA_GRE_ENCAP_FLAGS", "uint16"),
        ("IFLA_GRE_ENCAP_SPORT", "be16"),
        ("IFLA_GRE_ENCAP_DPORT", "be16"),
        ("IFLA_GRE_COLLECT_METADATA", "flag"),
        ("IFLA_GRE_IGNORE_DF", "uint8"),
        ("IFLA_GRE_FWMARK", "uint32"),
        ("IFLA_GRE_ERSPAN_INDEX", "uint32"),
        ("IFLA_GRE_ERSPAN_VER", "uint8"),
        ("IFLA_GRE_ERSPAN_DIR", "uint8"),
        ("IFLA_GRE_ERSPAN_HWID", "uint16"),
    )


class Gre4Data(nla):
    """IFLA_INFO_DATA of gre, gretap and erspan."""

    prefix = "IFLA_"
    nla_map: ClassVar[Attributes] = _attributes("ip4addr")


class Gre6Data(nla):
    """IFLA_INFO_DATA of ip6gre, ip6gretap and ip6erspan."""

    prefix = "IFLA_"
    nla_map: ClassVar[Attributes] = _attributes("ip6addr")


KINDS = {
    "gre": Gre4Data,
    "gretap": Gre4Data,
    "erspan": Gre4Data,
    "ip6gre": Gre6Data,
    "ip6gretap": Gre6Data,
    "ip6erspan": Gre6Data,
}

ifinfmsg.ifinfo.register_link_kind(module=KINDS)
