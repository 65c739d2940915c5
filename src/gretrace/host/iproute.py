# SPDX-License-Identifier: GPL-2.0-only
"""pyroute2's IPRoute, taught GRE, and imported when it is first needed.

To import pyroute2 takes a quarter of a second and 19 MB, more than all the rest of gretrace,
and a command that only watches tunnels can do without it.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from gretrace.host.netlink import ADDRESS, ATTRIBUTES
from gretrace.kernel.kinds import KINDS

if TYPE_CHECKING:
    from pyroute2.iproute import IPRoute


def open_iproute(**options: Any) -> "IPRoute":
    """Open a socket of rtnetlink in the present namespace; `options` are those of IPRoute."""
    from pyroute2.iproute import IPRoute

    _teach_gre()
    return IPRoute(**options)


def netlink_error() -> type[Exception]:
    """Return the class of what pyroute2 raises when the kernel refuses; it has `code`, an errno."""
    from pyroute2.netlink.exceptions import NetlinkError

    error: type[Exception] = NetlinkError
    return error


@cache
def _teach_gre() -> None:
    """Register the attributes of GRE links.

    pyroute2 knows no erspan, and takes the flags of an IPv6 tunnel in the wrong byte order;
    so all six kinds are described alike for both families.
    """
    from pyroute2.netlink import nla
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

    def describe(kind: str) -> type[nla]:
        address = "ip6addr" if kind.startswith("ip6") else "ip4addr"
        described = tuple((name, address if of == ADDRESS else of) for name, of in ATTRIBUTES)
        return type(f"{kind}_data", (nla,), {"prefix": "IFLA_", "nla_map": described})

    ifinfmsg.ifinfo.register_link_kind(module={kind: describe(kind) for kind in KINDS})
