# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's way of a packet that a GRE tunnel sends, to the link of its underlay.

Row by row in the order of the sources, to be laid beside them: net/ipv4/ip_gre.c and
ip_tunnel.c; net/ipv6/ip6_gre.c and ip6_tunnel.c, where ip6gre_tunnel_xmit() frees whatever
ip6_tnl_xmit() refuses; then net/ipv4/ip_output.c, net/core/neighbour.c and net/core/dev.c.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gretrace.kernel.ipsec import Policy
from gretrace.kernel.kinds import mtu_that_fits
from gretrace.kernel.lookup import Query, Tables
from gretrace.kernel.surroundings import Surroundings
from gretrace.kernel.way import UNTOLD, Free, Way, step
from gretrace.model import Address, Drop, Packet, Route, Tunnel

_XMIT4 = Free(("ipgre_xmit", "gre_tap_xmit", "erspan_xmit"), "ip_gre")
_METADATA = Free(("gre_fb_xmit", "erspan_fb_xmit"), "ip_gre")
_TUNNEL4 = Free(("ip_tunnel_xmit",), "ip_tunnel")
_TUNNEL6 = Free(("ip6gre_tunnel_xmit", "ip6erspan_tunnel_xmit"), "ip6_gre")
# What waits for a neighbour's address, and what asks for it.
_NEIGHBOUR = Free(
    ("neigh_invalidate", "__neigh_event_send", "arp_error_report", "ndisc_error_report")
)
_FRAGMENT = Free(("ip_fragment", "ip6_fragment"))
# XMIT_RECURSION_LIMIT of __dev_queue_xmit(), which frees by kfree_skb_list(), with a reason
# since v6.1.
_RECURSION = Free(
    ("kfree_skb_list_reason", "kfree_skb_list", "__dev_queue_xmit"),
    reasons=(*UNTOLD, "RECURSION_LIMIT"),
)

# dev_qdisc_enqueue(). Before v5.17 there is no reason, and the functions are those of the limit of
# devices.
_QDISC = Free(
    reasons=(
        *("QDISC_DROP", "QDISC_OVERLIMIT", "CAKE_FLOOD"),
        *("FQ_BAND_LIMIT", "FQ_HORIZON_LIMIT", "FQ_FLOW_LIMIT"),
        # Those of enum qdisc_drop_reason.
        *("QDISC_DROP_GENERIC", "QDISC_DROP_OVERLIMIT", "QDISC_DROP_MAXFLOWS"),
        *("QDISC_DROP_FLOOD_PROTECTION", "QDISC_DROP_BAND_LIMIT"),
        *("QDISC_DROP_HORIZON_LIMIT", "QDISC_DROP_FLOW_LIMIT"),
    )
)
# CoDel, which lets go of what has waited, when it would be sent.
_CODEL = (
    Free(reasons=("QDISC_CONGESTED", "QDISC_DROP_CONGESTED", "QDISC_DROP_L4S_STEP_NON_ECN")),
    # Some compilers put the first, which is codel's too, into its caller.
    Free(("drop_func",), reasons=UNTOLD),
    Free(("fq_codel_dequeue", "__fq_codel_dequeue", "codel_qdisc_dequeue"), reasons=UNTOLD),
    Free(("cake_dequeue",), reasons=UNTOLD),
)

# The way from an address that is none of this host.
STRANGE_LOCAL = Route(error=errno.EADDRNOTAVAIL)


@dataclass(frozen=True)
class Sending:
    """A packet on its way out through a tunnel, and the kernel's way to the tunnel's remote."""

    packet: Packet | None
    tunnel: Tunnel | None = None
    remote: Address | None = None  # None: the tunnel has none, each packet its own
    way: Route = field(default_factory=Route)
    circle: Sequence[Tunnel] = ()  # the tunnels that the way leads through, if it ends in one
    is_inside: bool = True  # not encapsulated yet
    policy: Policy | None = None  # of IPsec, that lets nothing through to the remote
    hop: Address | None = None  # of a tunnel to anywhere: the neighbour that lives at `remote`

    @property
    def is_known(self) -> bool:
        """Whether the way was asked for, and there was an answer."""
        return self.way.error is not None or self.way.device is not None


@step(_XMIT4, _TUNNEL6)
def cut_to_send(s: Sending) -> bool | None:
    """It is shorter than the IP header that it should have."""
    return None if s.packet is None else False


@step(_TUNNEL6, counts=("tx_errors",))
def needs_device(s: Sending) -> bool | None:
    """An end of the tunnel is link-local, and it is bound to no device (ip6_tnl_get_cap())."""
    tunnel = s.tunnel
    if tunnel is None:
        return None
    if not s.is_inside or tunnel.link or tunnel.moved or not (tunnel.local and tunnel.remote):
        return False
    return tunnel.local.is_link_local or tunnel.remote.is_link_local


@step(_TUNNEL6, counts=("tx_errors",))
def no_more_tunnels(s: Sending) -> bool | None:
    """Its encapsulation limit is 0 (RFC 2473): no tunnel may be put around it."""
    return None if s.packet is None else s.is_inside and s.packet.encap_limit == 0


@step(_METADATA, _XMIT4, _TUNNEL6)
def no_metadata(s: Sending) -> bool | None:
    """The tunnel is external, and no route or tc action told it where to send."""
    if s.tunnel is None:
        return None
    return None if s.tunnel.external else False


@step(_TUNNEL4, _TUNNEL6, counts=("tx_errors",))
def no_next_hop(s: Sending) -> bool | None:
    """The tunnel has no remote, and nothing says where the next hop lives."""
    if s.tunnel is None:
        return None
    return None if s.remote is None and not s.tunnel.external else False


@step(_TUNNEL4, _TUNNEL6, counts=("tx_carrier_errors", "tx_errors"))
def no_route_to_remote(s: Sending) -> bool | None:
    """The host has no route to the remote, or not from the tunnel's local address."""
    if not s.is_known:
        return None
    return s.way.error is not None


# Where IKE is asked for a state, what waits for it is discarded (make_blackhole() of
# net/xfrm/xfrm_policy.c); else the route itself is refused.
@step(_TUNNEL4, _TUNNEL6, Free(("dst_discard_out",)), counts=("tx_carrier_errors", "tx_errors"))
def refused_by_ipsec(s: Sending) -> bool | None:
    """A policy of IPsec blocks it, or wants it protected and there is no state for that."""
    return s.policy is not None and s.way.error is None


@step(_TUNNEL4, _TUNNEL6, counts=("collisions", "tx_errors"))
def route_into_itself(s: Sending) -> bool | None:
    """The route to the remote leads into the tunnel itself."""
    if len(s.circle) > 1:
        # A longer way round may end here as well, or in the limit of devices.
        return None
    return bool(s.circle) if s.is_known else None


@step(_TUNNEL4, _TUNNEL6, counts=("tx_errors",))
def too_big_to_send(s: Sending) -> bool | None:
    """With the tunnel's headers it is too long for the way, and must not be fragmented."""
    if s.packet is None or s.tunnel is None or s.way.mtu is None:
        return None
    # More than the device takes is an aggregate, which is cut anyway.
    fits = mtu_that_fits(s.way.mtu, s.tunnel)
    return not s.circle and fits < s.packet.length <= s.tunnel.mtu


@step(_FRAGMENT)
def too_big_to_leave(s: Sending) -> bool | None:
    """Encapsulated, it is too long for the way, and must not be fragmented."""
    if s.packet is None or s.tunnel is None or s.way.mtu is None:
        return None
    return not s.circle and s.packet.length > s.way.mtu


@step(_NEIGHBOUR)
def silent_neighbour(_: Sending) -> bool | None:
    """The next hop does not tell its link-layer address."""
    return None


@step(_QDISC)
def full_queue(_: Sending) -> bool | None:
    """The qdisc of the device has no room for it."""
    return None


@step(*_CODEL)
def long_queue(_: Sending) -> bool | None:
    """It has waited longer in the qdisc of the device than that lets packets wait."""
    return None


@step(_RECURSION)
def recursion(s: Sending) -> bool | None:
    """It went from device to device too often."""
    return True if s.circle else None


_STEPS = (
    *(cut_to_send, needs_device, no_more_tunnels, no_metadata, no_next_hop),
    *(no_route_to_remote, refused_by_ipsec),
    *(route_into_itself, too_big_to_send, too_big_to_leave, silent_neighbour, full_queue),
    *(long_queue, recursion),
)
WAY = Way(4, _STEPS)  # one for both versions of IP: no function is in both
FUNCTIONS = WAY.functions


def sending_of(drop: Drop, tables: Tables | None, host: Surroundings) -> Sending:
    """Tell what is known of a packet that was on its way out, encapsulated or not yet."""
    packet = drop.packet
    if tables is None:
        return Sending(packet)
    if drop.on_tunnel:
        tunnel = tables.by_ifindex(drop.ifindex)
        if tunnel is None:
            return Sending(packet)
        if tunnel.remote is None:
            return _to_neighbour(packet, tunnel, tables, host)
        return _sending(packet, tunnel, tunnel.remote, tables, host, is_inside=True)
    if packet is None or packet.gre is None or not drop.is_sent:
        return Sending(packet, is_inside=False)
    sender = find_sender(packet, tables)
    if sender is None:
        return Sending(packet, is_inside=False)
    return _sending(packet, sender, packet.local, tables, host, is_inside=False)


def find_sender(packet: Packet, tables: Tables) -> Tunnel | None:
    """Return the tunnel that has encapsulated a packet, if it is one of these."""
    if packet.gre is None:
        return None
    # Its peer would look it up the other way round, and so the nearest tunnels are found.
    query = Query(packet.local, packet.remote, packet.gre.key, packet.gre.protocol)
    for candidate in tables.candidates(query):
        tunnel = candidate.tunnel
        ends = tunnel.remote == packet.local and tunnel.local in (None, packet.remote)
        if ends and tunnel.okey == packet.gre.key:
            return tunnel
    return None


def find_way(host: Surroundings, tunnel: Tunnel, remote: Address) -> Route:
    """Ask for the kernel's way, as the tunnel itself does: from its own address, by its link."""
    if tunnel.local:
        link = host.device(tunnel.link) if tunnel.link else None
        own = host.route(tunnel.local, None, link.vrf_ifindex if link else None)
        if not own.is_own and (own.device is not None or own.error is not None):
            return STRANGE_LOCAL
    return host.route(remote, tunnel.local, tunnel.link or None)


def _sending(
    packet: Packet | None,
    tunnel: Tunnel,
    remote: Address,
    tables: Tables,
    host: Surroundings,
    *,
    is_inside: bool,
) -> Sending:
    way = find_way(host, tunnel, remote)
    return Sending(
        *(packet, tunnel, remote, way, _circle(tunnel, way, tables, host)),
        is_inside=is_inside,
        policy=_refusing_policy(host, tunnel, remote, way),
    )


def _refusing_policy(
    host: Surroundings, tunnel: Tunnel, remote: Address, way: Route
) -> Policy | None:
    """Return the policy that keeps a tunnel from sending (xfrm_lookup_with_ifid())."""
    source = tunnel.local or way.source
    if source is None or way.device is None:
        return None
    ipsec = host.ipsec()
    policy = ipsec.decisive("out", source, remote, tunnel.okey, way.device)
    if policy is None or policy.block:
        return policy
    return None if policy.optional or ipsec.between(source, remote) else policy


def _to_neighbour(
    packet: Packet | None, tunnel: Tunnel, tables: Tables, host: Surroundings
) -> Sending:
    """Tell the way of a tunnel to anywhere, where a neighbour entry says it."""
    if packet is None or tunnel.external:
        return Sending(packet, tunnel)
    device = host.device(tunnel.ifindex)
    way = host.route(packet.local, None, device.vrf_ifindex if device else None)
    hop = (way.gateway if way.device == tunnel.ifindex else None) or packet.local
    remote = host.neighbour(tunnel.ifindex, hop)
    if remote is None:
        return Sending(packet, tunnel)
    return replace(_sending(packet, tunnel, remote, tables, host, is_inside=True), hop=hop)


def _circle(tunnel: Tunnel, way: Route, tables: Tables, host: Surroundings) -> Sequence[Tunnel]:
    circle = [tunnel]
    while following := tables.by_ifindex(way.device or 0):
        if following in circle:
            return circle
        if following.remote is None:
            break
        circle.append(following)
        way = find_way(host, following, following.remote)
    return ()
