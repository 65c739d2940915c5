"""The way from a tunnel to its remote, through the underlay."""

import errno
from dataclasses import dataclass

from gretrace.kernel.lookup import Query
from gretrace.model import Address, Route, Tunnel
from gretrace.verdicts.case import Case

# Where a tunnel frees what it cannot send, whatever the reason: ip_tunnel_xmit() of
# net/ipv4/ip_tunnel.c, and the caller of ip6_tnl_xmit() of net/ipv6/ip6_gre.c.
SENDERS = ("ip_tunnel_xmit", "ip6gre_tunnel_xmit")

# Where packets die that wait for a neighbour's address (net/core/neighbour.c).
WAITING = ("neigh_invalidate", "__neigh_event_send", "arp_error_report", "ndisc_error_report")

# Where a packet dies that went from device to device too often: __dev_queue_xmit() of
# net/core/dev.c frees it by kfree_skb_list() (XMIT_RECURSION_LIMIT).
LOOPED = ("kfree_skb_list_reason", "kfree_skb_list", "__dev_queue_xmit")

# The way from an address that is none of this host.
STRANGE_LOCAL = Route(error=errno.EADDRNOTAVAIL)


@dataclass(frozen=True, slots=True)
class Sending:
    """A tunnel that could not send, and the kernel's way from it to its remote."""

    tunnel: Tunnel
    remote: Address
    way: Route


def unsent(case: Case, *places: str) -> Sending | None:
    """Return the tunnel on which a packet died in one of these places, if it knows its remote."""
    tunnel = case.carrier
    if tunnel is None or tunnel.remote is None or case.drop.place.function not in places:
        return None
    return find_way(case, tunnel, tunnel.remote)


def left(case: Case, places: tuple[str, ...]) -> Sending | None:
    """Return the tunnel whose packet died in one of these places, encapsulated."""
    drop, packet = case.drop, case.packet
    if drop.on_tunnel or not drop.is_sent or drop.place.function not in places:
        return None
    if packet is None or packet.gre is None or case.tables is None:
        return None
    # Its peer would look it up the other way round, and so the nearest tunnels are found.
    query = Query(packet.local, packet.remote, packet.gre.key, packet.gre.protocol)
    for candidate in case.tables.candidates(query):
        tunnel = candidate.tunnel
        ends = tunnel.remote == packet.local and tunnel.local in (None, packet.remote)
        if ends and tunnel.okey == packet.gre.key:
            return find_way(case, tunnel, packet.local)
    return None


def find_way(case: Case, tunnel: Tunnel, remote: Address) -> Sending:
    """Ask for the kernel's way, as the tunnel itself does: from its own address, by its link."""
    if tunnel.local and _is_strange(case.host.route(tunnel.local)):
        return Sending(tunnel, remote, STRANGE_LOCAL)
    way = case.host.route(remote, tunnel.local, tunnel.link or None)
    return Sending(tunnel, remote, way)


def find_circle(case: Case, sending: Sending) -> list[Tunnel]:
    """Return the tunnels that the way to the remote leads through, if it ends in one of them."""
    circle, way = [sending.tunnel], sending.way
    while case.tables and (following := case.tables.by_ifindex(way.device or 0)):
        if following in circle:
            return circle
        if following.remote is None:
            break
        circle.append(following)
        way = find_way(case, following, following.remote).way
    return []


def _is_strange(route: Route) -> bool:
    """Whether an address is known to be none of this host."""
    return not route.is_own and (route.device is not None or route.error is not None)
