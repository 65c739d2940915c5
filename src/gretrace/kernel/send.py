# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's way of a packet that a GRE tunnel sends, to the link of its underlay.

Row by row in the order of the sources, to be laid beside them: net/ipv4/ip_gre.c and
ip_tunnel.c; net/ipv6/ip6_gre.c and ip6_tunnel.c, where ip6gre_tunnel_xmit() frees whatever
ip6_tnl_xmit() refuses; then net/ipv4/ip_output.c, net/core/neighbour.c and net/core/dev.c.
"""

from gretrace.kernel.kinds import kind_of, mtu_that_fits
from gretrace.kernel.outgoing import Sending
from gretrace.kernel.way import UNTOLD, Free, Way, step
from gretrace.kernel.wireguard import given_up_by_wireguard, refused_by_wireguard

_XMIT4 = Free(("ipgre_xmit", "gre_tap_xmit", "erspan_xmit"), "ip_gre")
_METADATA = Free(("gre_fb_xmit", "erspan_fb_xmit"), "ip_gre")
_TUNNEL4 = Free(("ip_tunnel_xmit",), "ip_tunnel")
_EXTERNAL4 = Free(("ip_md_tunnel_xmit",), "ip_tunnel")
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
    if s.tunnel.external and s.remote:
        # An address of the other version of IP is none.
        return s.remote.version != kind_of(s.tunnel).family
    return None if s.tunnel.external else False


@step(_TUNNEL4, _TUNNEL6, counts=("tx_errors",))
def no_next_hop(s: Sending) -> bool | None:
    """The tunnel has no remote, and nothing says where the next hop lives."""
    if s.tunnel is None:
        return None
    return None if s.remote is None and not s.tunnel.external else False


@step(_TUNNEL4, _EXTERNAL4, _TUNNEL6, counts=("tx_carrier_errors", "tx_errors"))
def no_route_to_remote(s: Sending) -> bool | None:
    """The host has no route to the remote, or not from the tunnel's local address."""
    if not s.is_known:
        return None
    return s.way.error is not None


# Where IKE is asked for a state, what waits for it is discarded (make_blackhole() of
# net/xfrm/xfrm_policy.c); else the route itself is refused.
@step(
    *(_TUNNEL4, _EXTERNAL4, _TUNNEL6, Free(("dst_discard_out",))),
    counts=("tx_carrier_errors", "tx_errors"),
)
def refused_by_ipsec(s: Sending) -> bool | None:
    """A policy of IPsec blocks it, or wants it protected and there is no state for that."""
    return s.policy is not None and s.way.error is None


@step(_TUNNEL4, _EXTERNAL4, _TUNNEL6, counts=("collisions", "tx_errors"))
def route_into_itself(s: Sending) -> bool | None:
    """The route to the remote leads into the tunnel itself."""
    if len(s.circle) > 1:
        # A longer way round may end here as well, or in the limit of devices.
        return None
    return bool(s.circle) if s.is_known else None


@step(_TUNNEL4, _EXTERNAL4, _TUNNEL6, counts=("tx_errors",))
def too_big_to_send(s: Sending) -> bool | None:
    """With the tunnel's headers it is too long for the way, and must not be fragmented."""
    shape = s.shape
    if s.packet is None or shape is None or s.way.mtu is None:
        return None
    # More than the device takes is an aggregate, which is cut anyway.
    fits = mtu_that_fits(s.way.mtu, shape)
    return not s.circle and fits < s.packet.length <= shape.mtu


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
    *(long_queue, refused_by_wireguard, given_up_by_wireguard, recursion),
)
WAY = Way(4, _STEPS)  # one for both versions of IP: no function is in both
FUNCTIONS = WAY.functions
