# SPDX-License-Identifier: GPL-2.0-only
"""The ways by which the kernel would send."""

from collections.abc import Container
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from gretrace.host.framing import attributes_in
from gretrace.host.iproute import netlink_error
from gretrace.host.netlink import Links
from gretrace.model import Address, Metadata, Route

if TYPE_CHECKING:
    from pyroute2.iproute import IPRoute
    from pyroute2.netlink import nlmsg

# linux/socket.h and uapi/linux/rtnetlink.h
AF_INET, AF_INET6 = 2, 10
AF_OF_VERSION = {4: AF_INET, 6: AF_INET6}
RTN_LOCAL, RTN_BROADCAST = 2, 3
# uapi/linux/lwtunnel.h: the numbers are the same for both families, but for the flags'.
LWTUNNEL_ENCAP_IP, LWTUNNEL_ENCAP_IP6 = 2, 4
LWTUNNEL_IP_DST, LWTUNNEL_IP_SRC, LWTUNNEL_IP_FLAGS = 2, 3, 6
# uapi/linux/if_tunnel.h
TUNNEL_CSUM, TUNNEL_KEY, TUNNEL_SEQ = 0x01, 0x04, 0x08


# Addresses that are nobody's (RFC 5737, RFC 3849): their way is the default route's.
NOBODY: dict[int, Address] = {4: ip_address("192.0.2.1"), 6: ip_address("2001:db8::1")}


def ask_route(
    netlink: "IPRoute",
    links: Links,
    remote: Address,
    oif: int | None = None,
    source: Address | None = None,
) -> Route:
    """Ask the kernel for the way to an address, by a device and from an address where given."""
    told = {"oif": oif, "src": str(source) if source else None}
    try:
        (message,) = netlink.route(
            "get", dst=str(remote), **{name: value for name, value in told.items() if value}
        )
    except ValueError:
        return Route()
    except netlink_error() as error:
        return Route(error=getattr(error, "code", None))
    device, metrics = message.get_attr("RTA_OIF"), message.get_attr("RTA_METRICS")
    link = links.get(device) if device else None
    # RTAX_MTU is there once a smaller one was configured or learnt (rt_fill_info()).
    known_mtu = metrics.get_attr("RTAX_MTU") if metrics else None
    return Route(
        device=device,
        source=_parse(message.get_attr("RTA_PREFSRC")),
        name=link.name if link else None,
        gateway=_parse(message.get_attr("RTA_GATEWAY")),
        mtu=known_mtu or (link.mtu if link else None),
        is_own=message["type"] == RTN_LOCAL,
        is_broadcast=message["type"] == RTN_BROADCAST,
        metadata=_metadata(message),
    )


def find_detour(
    netlink: "IPRoute",
    links: Links,
    remote: Address,
    local: Address | None,
    avoid: Container[int] = (),
) -> Route | None:
    """Find a way to an address on a link of its own, the one that holds `local` first.

    Where the routes name no gateway for the address itself it is that of the default route.
    Links that have their index in `avoid` are passed by.
    """
    family = AF_INET6 if remote.version == 6 else AF_INET
    told = [(_own_address(message), message) for message in netlink.get_addr(family=family)]
    for own, message in sorted(told, key=lambda pair: pair[0] != local):
        link = None if message["index"] in avoid else links.get(message["index"])
        if own is None or link is None:
            continue
        # Told a device, the kernel takes any address to be on its link when it has no route
        # there (ip_route_output_key_hash_rcu()).
        if remote in ip_network((own, message["prefixlen"]), strict=False):
            return Route(device=link.index, source=own, name=link.name, mtu=link.mtu)
        for wanted in (remote, NOBODY[remote.version]):
            route = ask_route(netlink, links, wanted, oif=link.index)
            if route.gateway:
                return route
    return None


def _metadata(message: "nlmsg") -> Metadata | None:
    """Read what a route tells a tunnel, of which pyroute2 shows the bytes."""
    told = message.get_attr("RTA_ENCAP")
    kinds = (LWTUNNEL_ENCAP_IP, LWTUNNEL_ENCAP_IP6)
    if not isinstance(told, str) or message.get_attr("RTA_ENCAP_TYPE") not in kinds:
        return None
    found = attributes_in(bytes.fromhex(told.replace(":", "")))
    if LWTUNNEL_IP_DST not in found:
        return None
    source = ip_address(found[LWTUNNEL_IP_SRC]) if LWTUNNEL_IP_SRC in found else None
    flags = int.from_bytes(found.get(LWTUNNEL_IP_FLAGS, b""), "big")
    return Metadata(
        remote=ip_address(found[LWTUNNEL_IP_DST]),
        local=None if source is None or source.is_unspecified else source,
        has_key=bool(flags & TUNNEL_KEY),
        has_checksum=bool(flags & TUNNEL_CSUM),
        has_sequence=bool(flags & TUNNEL_SEQ),
    )


def _own_address(message: "nlmsg") -> Address | None:
    return _parse(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))


def _parse(text: str | None) -> Address | None:
    return ip_address(text) if text else None
