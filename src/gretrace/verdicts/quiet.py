"""Frees that are no death of a GRE packet, though the tracepoint cannot tell."""

from gretrace.model import Drop

# A capture or a raw socket whose buffer is full loses its copy; the packet goes on.
COPIES = ("packet_rcv", "tpacket_rcv", "raw_rcv", "raw_rcv_skb", "rawv6_rcv", "sock_queue_rcv_skb")

# The tunnel has done its work: the packet reached the protocol that it was for, or a
# multicast group that nobody here has joined. net/ipv6/icmp.c icmpv6_rcv() frees even the
# neighbour discovery that it has answered this way.
DELIVERED = ("tcp_", "udp", "__udp", "icmp", "igmp", "ndisc_", "mld_", "ping_", "sctp_", "arp_")
DELIVERED_TO_NOBODY = ("ip6_mc_input",)


def is_quiet(drop: Drop) -> bool:
    """Whether healthy traffic through a tunnel is freed like this too."""
    function = drop.place.function
    if function in COPIES:
        return True
    return drop.on_tunnel and (function.startswith(DELIVERED) or function in DELIVERED_TO_NOBODY)
