"""Frees that are no death of a GRE packet, though the tracepoint cannot tell."""

from gretrace.model import Drop

# A capture or a raw socket whose buffer is full loses its copy; the packet goes on.
COPIES = ("packet_rcv", "tpacket_rcv", "raw_rcv", "raw_rcv_skb", "rawv6_rcv", "sock_queue_rcv_skb")

# The parts of a packet that was aggregated or reassembled go with the whole, which is told by
# itself if it is dropped. v6.1 does not say that they are consumed.
PARTS = ("skb_release_data",)

# The tunnel has done its work: the packet reached the protocol that it was for.
# net/ipv6/icmp.c icmpv6_rcv() frees even the neighbour discovery that it has answered so.
DELIVERED = ("tcp_", "udp", "__udp", "icmp", "igmp", "ndisc_", "mld_", "ping_", "sctp_", "arp_")

# Where a multicast packet ends that no group of this host wants: a peer's routing
# protocol greets whoever listens.
UNJOINED = ("ip6_mc_input", "ip_rcv_finish_core")


def is_quiet(drop: Drop) -> bool:
    """Whether healthy traffic through a tunnel is freed like this too."""
    function = drop.place.function
    if function in COPIES + PARTS:
        return True
    if not drop.on_tunnel:
        return False
    if function.startswith(DELIVERED):
        return True
    unexplained = drop.reason in (None, "NOT_SPECIFIED")
    is_multicast = drop.packet is not None and drop.packet.local.is_multicast
    return function in UNJOINED and unexplained and is_multicast
