# SPDX-License-Identifier: GPL-2.0-only
"""The host's own stack: a packet before GRE takes it, and what a tunnel has delivered.

Row by row in the order in which a packet comes to them: net/core/dev.c, net/ipv4/ip_input.c and
route.c, net/ipv4/ip_forward.c, net/ipv6/ip6_input.c and ip6_output.c; on its way out
net/ipv4/ip_output.c and net/ipv6/ip6_output.c. Of what users' programs and rules do, no more is
known than that they may drop.
"""

from gretrace.kernel.settings import forwards, read_number, reverse_path, setting_name
from gretrace.kernel.stay import Stay, impossible_source, is_refused_own
from gretrace.kernel.switching import bridge_state, bridge_vlan, mpls_refused
from gretrace.kernel.way import UNTOLD, By, Free, Step, Way, step

# fib_validate_source() is seen in its callers: ip_rcv_finish_core(), before v4.19
# ip_rcv_finish(); and ip_route_input_slow() where builds put it there.
_SOURCE = ("ip_rcv_finish_core", "ip_rcv_finish*", "ip_route_input*")
# net/ipv4/tunnel4.c and net/ipv6/tunnel6.c
_TUNNELS = ("tunnel4_rcv", "tunnel64_rcv", "tunnel6_rcv", "tunnel46_rcv")
_NETFILTER = (
    Free(reasons=("NETFILTER_DROP", "NETFILTER_INGRESS")),
    Free(("nf_hook_slow", "nf_hook_slow_list", "nft_do_chain", "ipt_do_table", "ip6t_do_table")),
)


def told(reason: str, functions: tuple[str, ...] = (), family: int | None = None) -> Free:
    """Return a free whose reason names the step."""
    return Free(functions, reasons=(reason,), family=family, is_told=True)


@step(
    Free(reasons=("XDP",)),
    # The last is v5.10's.
    Free(("do_xdp_generic", "netif_receive_generic_xdp", "bpf_prog_run_generic_xdp")),
    Free(("netif_rx_internal",)),
)
def generic_xdp(_: Stay) -> bool | None:
    """A generic XDP program drops it."""
    return None


@step(Free(reasons=("TC_INGRESS",)), Free(("sch_handle_ingress",)))
def tc_ingress(_: Stay) -> bool | None:
    """A tc filter at the ingress of the device drops it."""
    return None


@step(*_NETFILTER)
def netfilter_ingress(s: Stay) -> bool | None:
    """A rule at the ingress hook of the device drops it."""
    return None if s.is_early else False


@step(
    Free(reasons=("UNHANDLED_PROTO",)),
    # Where a bridge has the module loaded, it takes what has no EtherType, and wants a frame.
    Free(("llc_rcv",)),
)
def no_protocol(_: Stay) -> bool | None:
    """Nothing here takes packets of its EtherType."""
    return None


@step(
    Free(("ip_rcv*",), reasons=("PKT_TOO_SMALL", "HDR_TRUNC"), family=4),
    Free(("ip6_rcv*", "ipv6_rcv*"), reasons=("PKT_TOO_SMALL", "HDR_TRUNC"), family=6),
)
def cut_short(_: Stay) -> bool | None:
    """It is shorter than its IP header, or than that says."""
    return None


@step(told("IP_CSUM", ("ip_rcv*",), family=4))
def wrong_ip_checksum(_: Stay) -> bool | None:
    """The checksum of its IP header is wrong."""
    return None


@step(
    told("IPV6DISABLED", ("ip6_rcv*", "ipv6_rcv*"), family=6),
    # Below the least MTU of IPv6 the device has none of it, and there is no reason (addrconf.c).
    Free(("ip6_rcv*", "ipv6_rcv*"), reasons=("NOT_SPECIFIED",), family=6),
)
def ipv6_disabled(s: Stay) -> bool | None:
    """The device that it came by has no IPv6."""
    if s.is_sent or s.device is None or (s.packet and s.packet.family == 4):
        return False
    disabled = read_number(s.host.sysctl, setting_name(s.device, "disable_ipv6", 6))
    return None if disabled is None else bool(disabled)


@step(*_NETFILTER)
def netfilter_prerouting(s: Stay) -> bool | None:
    """A rule at the prerouting hook drops it."""
    return None if s.is_early else False


@step(
    Free(_SOURCE, reasons=UNTOLD, family=4),
    # v6.14
    *(told(reason, _SOURCE) for reason in ("IP_LOCAL_SOURCE", "IP_INVALID_SOURCE", "IP_LOCALNET")),
    Free(("ip6_rcv_core",), reasons=(None, "IP_INHDR"), family=6),
)
def martian_source(s: Stay) -> bool | None:
    """Its source is an address of this host, or one that no host may have."""
    if s.is_sent:
        return False
    if s.packet is None or s.device is None:
        return None
    if impossible_source(s.packet.remote):
        return True
    return s.packet.family == 4 and is_refused_own(s, s.device)


@step(told("IP_RPFILTER"), Free(_SOURCE, reasons=(None,), family=4))
def reverse_path_filter(s: Stay) -> bool | None:
    """The reverse path filter refuses its source."""
    if s.is_sent or s.packet is None or s.device is None or s.packet.family == 6:
        return False
    if not reverse_path(s.host.sysctl, s.device) or s.packet.local.is_multicast:
        return False
    if impossible_source(s.packet.remote) or is_refused_own(s, s.device):
        return False
    return None


@step(
    told("IP_INADDRERRORS", ("ip_error",), family=4),
    told("IP_INADDRERRORS", ("ip6_forward",), family=6),
    Free(("ip_error",), reasons=(None,), family=4),
    Free(("ip6_forward",), reasons=(None,), family=6),
)
def no_forwarding(s: Stay) -> bool | None:
    """It is for another host, and this one does not forward."""
    if s.is_for_us or s.is_sent:
        return False
    if s.packet is None or s.device is None:
        return None
    forwarding = forwards(s.host.sysctl, s.device, s.packet.family)
    return None if forwarding is None else not forwarding


@step(
    told("IP_INNOROUTES", ("ip_error",), family=4),
    # Routes that reject have no reason.
    Free(("ip_error",), reasons=UNTOLD, family=4),
    Free(("ip6_pkt_drop", "ip6_pkt_discard", "ip6_pkt_prohibit", "dst_discard_out"), family=6),
)
def no_route(s: Stay) -> bool | None:
    """It is for another host, to which this one has no route."""
    if s.is_for_us or s.is_sent:
        return False
    if s.packet is None or s.device is None:
        return None
    if s.packet.family == 4 and forwards(s.host.sysctl, s.device, 4) is not True:
        return forwards(s.host.sysctl, s.device, 4)
    # A rule may send what comes by this device to another table.
    return True if s.route(s.packet.local).error else None


@step(*_NETFILTER)
def netfilter_input(s: Stay) -> bool | None:
    """A rule at the input hook drops it."""
    return None if not s.is_sent and s.is_routed is not False and s.is_for_us else False


@step(Free(reasons=("IP_NOPROTO",), by_then=By.UNDERLAY))
def no_module(_: Stay) -> bool | None:
    """Nothing here takes packets of its protocol, which is GRE."""
    return None


@step(
    Free(reasons=("IP_NOPROTO",), by_then=By.INNER),
    # IP in IP has its module loaded, and no tunnel for it.
    Free(_TUNNELS, reasons=UNTOLD, by_then=By.INNER),
)
def no_program(_: Stay) -> bool | None:
    """Nothing here takes packets of its IP protocol."""
    return None


@step(
    told("FRAG_REASM_TIMEOUT"),
    # Before v6.2, 77adfd3a1d44 ("net: dropreason: add SKB_DROP_REASON_FRAG_REASM_TIMEOUT").
    Free(("ip_expire",), reasons=UNTOLD, family=4),
    Free(("ip6_frag_expire", "nf_ct_frag6_expire"), reasons=UNTOLD, family=6),
    Free(("inet_frag_rbtree_purge",), reasons=UNTOLD),
)
def lost_fragment(_: Stay) -> bool | None:
    """It was cut into fragments, and not all of them came in time."""
    return None


@step(Free(reasons=("NO_SOCKET",), by_then=By.UNDERLAY))
def no_listener(s: Stay) -> bool | None:
    """It is GRE in UDP, for a port that nothing here has opened."""
    return None if s.packet and s.packet.udp_port else False


@step(told("XFRM_POLICY"))
def ipsec_policy(_: Stay) -> bool | None:
    """A policy of IPsec blocks it, or wants it protected otherwise than it came."""
    return None


@step(*_NETFILTER)
def netfilter_forward(s: Stay) -> bool | None:
    """A rule at the forward hook drops it."""
    return None if not s.is_sent and s.is_routed is not False and not s.is_for_us else False


@step(
    told("PKT_TOO_BIG", ("ip_forward", "ip6_forward")),
    Free(("ip_forward",), reasons=(None,), family=4),
)
def too_big_to_forward(s: Stay) -> bool | None:
    """It is too long for the link that it should leave by, and must not be fragmented."""
    mtu = s.route(s.packet.local).mtu if s.packet else None
    return None if s.packet is None or mtu is None else mtu < s.packet.length


@step(*_NETFILTER)
def netfilter_output(s: Stay) -> bool | None:
    """A rule at the output hook drops it."""
    return None if s.is_sent and not s.is_passing else False


@step(*_NETFILTER)
def netfilter_postrouting(s: Stay) -> bool | None:
    """A rule at the postrouting hook drops it."""
    return None if s.is_sent and not s.is_wrapped else False


@step(*_NETFILTER)
def netfilter_egress(s: Stay) -> bool | None:
    """A rule at the egress hook of the device drops it."""
    return None if s.is_sent and not s.is_wrapped else False


@step(Free(reasons=("TC_EGRESS",)), Free(("sch_handle_egress",)))
def tc_egress(_: Stay) -> bool | None:
    """A tc filter at the egress of the device drops it."""
    return None


NETFILTER = (
    *(netfilter_ingress, netfilter_prerouting, netfilter_input, netfilter_forward),
    *(netfilter_output, netfilter_postrouting, netfilter_egress),
)
_STEPS = (
    *(generic_xdp, tc_ingress, netfilter_ingress, bridge_state, bridge_vlan, no_protocol),
    *(mpls_refused, ipv6_disabled, cut_short, wrong_ip_checksum, netfilter_prerouting),
    *(martian_source, reverse_path_filter, no_forwarding, no_route),
    *(lost_fragment, netfilter_input, no_module, no_program, no_listener, ipsec_policy),
    *(netfilter_forward, too_big_to_forward),
    *(netfilter_output, netfilter_postrouting, netfilter_egress, tc_egress),
)
WAYS = {family: Way(family, _STEPS) for family in (4, 6)}  # of the packet's own IP version


def hook_of(netfilter: Step[Stay]) -> str:
    """Return the hook that a step of NETFILTER is."""
    return netfilter.name.removeprefix("netfilter-")
