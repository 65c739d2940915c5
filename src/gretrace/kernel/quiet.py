# SPDX-License-Identifier: GPL-2.0-only
"""Frees that are no death of a GRE packet, though the tracepoint cannot tell: one row each."""

from collections.abc import Callable
from dataclasses import dataclass

from gretrace.kernel import receive
from gretrace.kernel.kinds import kind_of
from gretrace.kernel.lookup import Tables
from gretrace.kernel.outgoing import find_sender
from gretrace.kernel.passage import Passage
from gretrace.kernel.switching import STP_STATE
from gretrace.model import Drop, Tunnel

# A capture or a raw socket whose buffer is full loses its copy; the packet goes on.
COPIES = ("packet_rcv", "tpacket_rcv", "raw_rcv", "raw_rcv_skb", "rawv6_rcv", "sock_queue_rcv_skb")

# The parts of a packet that was aggregated or reassembled go with the whole, which is told by
# itself if it is dropped. v6.1 does not say that they are consumed.
PARTS = ("skb_release_data",)

# The tunnel has done its work: the packet reached the protocol that it was for.
# net/ipv6/icmp.c icmpv6_rcv() frees even the neighbour discovery that it has answered so.
DELIVERED = (
    "tcp_",
    "udp",
    "__udp",
    "icmp",
    "igmp",
    "ndisc_",
    "mld_",
    "ping_",
    "sctp_",
    "arp_",
    "pim",
)

# Where a multicast packet ends that no group of this host wants: a peer's routing
# protocol greets whoever listens.
UNJOINED = ("ip6_mc_input", "ip_rcv_finish_core")

# ip_forward() and ip6_forward() of a packet whose last hop was here, which they answer.
FORWARDERS = ("ip_forward", "ip6_forward")

# br_forward() and br_flood() of net/bridge/br_forward.c: the port that a frame came by is the
# only one that it could go to. Compilers put them into their caller.
SWITCHES = ("br_forward", "br_flood", "br_handle_frame_finish", "br_handle_frame")
# br_pass_frame_up() of net/bridge/br_input.c: of a VLAN that the host itself has no part in.
UPWARDS = ("br_pass_frame_up",)

# net/llc/llc_input.c and net/802: what has no EtherType, as CDP and STP have none.
LINK_LAYER = ("llc_rcv", "snap_rcv", "stp_pdu_rcv")

# Where a frame ends that generic XDP or tc drops, which are somebody's will.
PROGRAMMED = ("XDP", "TC_INGRESS", "TC_EGRESS", "NETFILTER_DROP", "NETFILTER_INGRESS")

ICMPV6 = 58
# Router solicitation and multicast listener reports, of RFC 4861, RFC 2710 and RFC 3810.
GREETINGS = (131, 132, 133, 143)


@dataclass(frozen=True, slots=True)
class Quiet:
    """One way to be freed that is no fault."""

    words: str  # what follows "packets were freed by design:"
    # The drop, and the tunnel that it died on, or that waits for it.
    fits: Callable[[Drop, Tunnel | None], bool]


def concerned(drop: Drop, tables: Tables) -> Tunnel | None:
    """Return the tunnel that a packet died on, or that sent or waits for it if UDP is around it."""
    if not _is_guessed(drop) or drop.packet is None:
        return tables.by_ifindex(drop.ifindex) if drop.on_tunnel else None
    if drop.is_sent:
        sender = find_sender(drop.packet, tables)
        has_sent = sender and sender.encap and sender.encap.dport == drop.packet.udp_port
        return sender if has_sent else None
    return Passage(drop.packet, tables, drop.ifindex).tunnel


def quiet(drop: Drop, tunnel: Tunnel | None) -> str | None:
    """Tell why healthy traffic is freed like this too; None where it is not."""
    return next((row.words for row in QUIET if row.fits(drop, tunnel)), None)


def _is_frame(drop: Drop, tunnel: Tunnel | None) -> bool:
    """Whether a tunnel for frames carried it, on its own device or behind a bridge."""
    return drop.below is not None or (tunnel is not None and kind_of(tunnel).is_ethernet)


def _is_copy(drop: Drop, _tunnel: Tunnel | None) -> bool:
    return drop.place.function in COPIES


def _is_part(drop: Drop, _tunnel: Tunnel | None) -> bool:
    return drop.place.function in PARTS


def _is_for_others(drop: Drop, _tunnel: Tunnel | None) -> bool:
    """Of ip_rcv() and ip6_rcv(), and since v5.18 of an unused VLAN (__netif_receive_skb_core())."""
    return drop.reason == "OTHERHOST"


def _is_delivered(drop: Drop, _tunnel: Tunnel | None) -> bool:
    is_received = drop.on_tunnel and not drop.is_sent and not drop.leaving_by
    return is_received and drop.place.function.startswith(DELIVERED)


def _is_unjoined(drop: Drop, _tunnel: Tunnel | None) -> bool:
    if not drop.on_tunnel or drop.packet is None or not drop.packet.local.is_multicast:
        return False
    unexplained = drop.reason in (None, "NOT_SPECIFIED") and drop.place.function in UNJOINED
    # The peer greets all groups of IPv6, whether anybody here speaks it or not.
    return unexplained or drop.reason == "IPV6DISABLED"


def _is_mirrored(drop: Drop, tunnel: Tunnel | None) -> bool:
    """Of a port to which others mirror what they see: whoever watches has its copy by then."""
    is_monitor = tunnel is not None and bool(kind_of(tunnel).erspan)
    # Over IPv6 a tunnel refuses a packet that has its device already.
    is_receiving = drop.place.function in receive.FUNCTIONS
    is_there = drop.on_tunnel and not drop.is_sent and not is_receiving
    return is_monitor and is_there and drop.reason not in PROGRAMMED


def _is_unspoken(drop: Drop, tunnel: Tunnel | None) -> bool:
    """Of neighbours that greet each other (LLDP, CDP, STP), and whatever else a switch floods."""
    is_frame = _is_frame(drop, tunnel) and not drop.is_sent
    return is_frame and (drop.reason == "UNHANDLED_PROTO" or drop.place.function in LINK_LAYER)


def _is_switched_back(drop: Drop, tunnel: Tunnel | None) -> bool:
    is_frame = _is_frame(drop, tunnel) and not drop.is_sent
    unexplained = drop.reason in (None, "NOT_SPECIFIED", "NO_TX_TARGET")
    return is_frame and unexplained and drop.place.function in SWITCHES


def _is_blocked(drop: Drop, tunnel: Tunnel | None) -> bool:
    """Of a port that STP keeps from forwarding, as it must where there is a second way."""
    return _is_frame(drop, tunnel) and drop.reason == STP_STATE


def _is_not_for_the_host(drop: Drop, tunnel: Tunnel | None) -> bool:
    unexplained = drop.reason in (None, "NOT_SPECIFIED")
    return _is_frame(drop, tunnel) and unexplained and drop.place.function in UPWARDS


def is_doubtful(drop: Drop) -> bool:
    """Whether a fault is freed like this too, so that a cause is to be asked first."""
    return drop.place.function in SWITCHES


def _is_last_hop(drop: Drop, _tunnel: Tunnel | None) -> bool:
    packet = drop.packet
    if not drop.on_tunnel or drop.place.function not in FORWARDERS or packet is None:
        return False
    return packet.ttl is not None and packet.ttl <= 1


def _has_no_protocol(drop: Drop, _tunnel: Tunnel | None) -> bool:
    """Of routing protocols and the like that greet whoever is there, and nobody here speaks.

    To all hosts or routers, that is: who sends to an address of this host means this host.
    """
    if not drop.on_tunnel or drop.is_sent or drop.reason != "IP_NOPROTO" or drop.packet is None:
        return False
    return drop.packet.local.is_multicast or str(drop.packet.local) == "255.255.255.255"


def _is_greeting(drop: Drop, tunnel: Tunnel | None) -> bool:
    """Of IPv6 on a tunnel to anywhere, which has no address for a group (ipv6_ipgre_mc_map())."""
    packet = drop.packet
    if tunnel is None or tunnel.remote or not drop.is_sent or packet is None:
        return False
    is_greeting = packet.protocol == ICMPV6 and packet.icmp_type in (*GREETINGS, None)
    return packet.local.is_multicast and (is_greeting or packet.protocol == 0)


def _is_guessed(drop: Drop) -> bool:
    """Whether it is of UDP, and only its bytes say that GRE may be inside.

    It was sent, or nobody took it; what FOU and GUE have taken is theirs.
    """
    packet = drop.packet
    return bool(packet and packet.udp_port) and (drop.is_sent or drop.reason == "NO_SOCKET")


def _is_nobodys(drop: Drop, tunnel: Tunnel | None) -> bool:
    return _is_guessed(drop) and (tunnel is None or tunnel.fallback)


QUIET = (
    Quiet("copies for captures and raw sockets that had no room", _is_copy),
    Quiet("parts of packets that are told of as a whole", _is_part),
    Quiet("for another host of the link", _is_for_others),
    Quiet("they had reached the protocol that they were for", _is_delivered),
    Quiet("to groups that nobody here has joined", _is_unjoined),
    Quiet("mirrored to a monitor port, which hands them to whoever watches", _is_mirrored),
    Quiet("nothing here speaks these protocols of the link", _is_unspoken),
    Quiet("the bridge had nowhere to send them but back", _is_switched_back),
    Quiet("STP keeps the port from forwarding", _is_blocked),
    Quiet("of VLANs that the bridge takes no part in itself", _is_not_for_the_host),
    Quiet("here was its last hop, as traceroute asks for", _is_last_hop),
    Quiet("to all, and nothing here speaks their IP protocol", _has_no_protocol),
    Quiet("UDP of no tunnel, to a closed port or on its way out", _is_nobodys),
    Quiet("IPv6 looked for neighbours on a tunnel to anywhere", _is_greeting),
)
