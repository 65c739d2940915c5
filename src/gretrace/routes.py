"""The ways by which the kernel would send."""

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from gretrace.iproute import netlink_error
from gretrace.model import Address, Route
from gretrace.netlink import Links

if TYPE_CHECKING:
    from pyroute2.iproute import IPRoute

# linux/socket.h and uapi/linux/rtnetlink.h
AF_INET, AF_INET6 = 2, 10
RTN_LOCAL = 2


def ask_route(netlink: "IPRoute", links: Links, remote: Address, oif: int | None = None) -> Route:
    """Ask the kernel for the way to an address, by a certain device where one is given."""
    by = {} if oif is None else {"oif": oif}
    try:
        (message,) = netlink.route("get", dst=str(remote), **by)
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
    )


def find_detour(netlink: "IPRoute", links: Links, remote: Address, local: Address) -> Route | None:
    """Find a way to an address on the link that holds one of our own addresses."""
    for message in netlink.get_addr(family=AF_INET6 if remote.version == 6 else AF_INET):
        own = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        if own is None or ip_address(own) != local:
            continue
        route = ask_route(netlink, links, remote, oif=message["index"])
        # Told a device, the kernel takes any address to be on its link when it has no route
        # there (ip_route_output_key_hash_rcu()).
        is_on_link = remote in ip_network((own, message["prefixlen"]), strict=False)
        if route.gateway or (is_on_link and route.device):
            return route
    return None


def _parse(text: str | None) -> Address | None:
    return ip_address(text) if text else None
