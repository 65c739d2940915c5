"""A tunnel was found for the packet, and refuses it.

ip_tunnel_rcv() of net/ipv4/ip_tunnel.c and __ip6_tnl_rcv() of net/ipv6/ip6_tunnel.c look, in
this order, at the checksum flag, the sequence number, the length and the ECN bits of what the
tunnel carries. They give no reason; a counter of the tunnel's errors goes up.
"""

from collections.abc import Sequence

from gretrace.commands import ip_link
from gretrace.kernel.kinds import kind_of
from gretrace.model import ETH_P_IP, ETH_P_IPV6, ETH_P_TEB, Finding, Fix, Packet, Tunnel, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import (
    add_and_set_up,
    change_command,
    describe_packet,
    describe_tunnel,
)
from gretrace.wire.packet import ETHERNET_SIZE, IPV4_MIN, IPV6_SIZE

# RFC 3168 section 5
ECN_MASK, ECN_CE = 3, 3
INNER_SIZE = {ETH_P_IP: IPV4_MIN, ETH_P_IPV6: IPV6_SIZE}  # pskb_inet_may_pull(), in bytes

# Where a frame that is too short for an Ethernet header ends before any tunnel refuses it:
# in __iptunnel_pull_header(), which over IPv6 comes before the lookup.
PULLERS = ("__ipgre_rcv", "gre_rcv")


@cause("checksum-policy", "one side uses GRE checksums and the other does not")
def checksum_policy(case: Case) -> Finding | None:
    """A tunnel with icsum and a packet without a checksum, or the other way round."""
    tunnel, packet = _refuser(case), case.packet
    if not tunnel or not packet or not packet.gre or _checksums_agree(tunnel, packet):
        return None
    wanted = packet.gre.has_checksum
    if wanted:
        summary = f"{tunnel.name} expects no checksum, but the packets from {packet.remote} have"
        note = "Expect a checksum; what we send stays as it is."
        peer = "Or take the checksum off the peer's tunnel (ocsum; on Cisco, tunnel checksum)."
    else:
        summary = f"{tunnel.name} expects a checksum, but the packets from {packet.remote} have"
        note = "Expect no checksum; what we send stays as it is."
        peer = "Or have the peer send a checksum (ocsum; on Cisco, tunnel checksum)."
    return _finding(
        case,
        tunnel,
        f"{summary} {'one' if wanted else 'none'}.",
        (
            Fix(Where.HERE, note, change_command(case.netns, tunnel, icsum=wanted)),
            Fix(Where.PEER, peer),
        ),
    )


@cause("sequence-policy", "the tunnel expects sequence numbers and the packet has none")
def sequence_policy(case: Case) -> Finding | None:
    """A tunnel with iseq takes no packet without a number; the other way round it does not care."""
    tunnel, packet = _refuser_of_number(case), case.packet
    if not tunnel or not packet or not packet.gre or packet.gre.has_sequence:
        return None
    return _finding(
        case,
        tunnel,
        f"{tunnel.name} expects sequence numbers, but the packets from {packet.remote} have none.",
        (
            Fix(
                Where.HERE,
                "Expect no sequence numbers.",
                change_command(case.netns, tunnel, iseq=False),
            ),
            Fix(
                Where.PEER,
                "Or number the packets there (oseq; on Cisco, tunnel sequence-datagrams).",
            ),
        ),
    )


@cause("sequence-old", "the sequence number is lower than one that the tunnel has seen already")
def sequence_old(case: Case) -> Finding | None:
    """All that a tunnel with iseq can have against a packet that has a number."""
    tunnel, packet = _refuser_of_number(case), case.packet
    if not tunnel or not packet or not packet.gre or not packet.gre.has_sequence:
        return None
    delete = ip_link(case.netns, "del", tunnel.name)
    return _finding(
        case,
        tunnel,
        f"{tunnel.name} has seen a later sequence number than {packet.gre.sequence}: the peer "
        f"{packet.remote} began to count anew, or the packets overtook each other.",
        (
            Fix(
                Where.HERE,
                "Expect no sequence numbers, then no packet is too old; what we send stays as "
                "it is.",
                change_command(case.netns, tunnel, iseq=False),
            ),
            Fix(
                Where.HERE,
                f"If the numbers must be checked and the peer was restarted, make {tunnel.name} "
                "anew: only that makes the kernel forget the last number, not to set the tunnel "
                "down and up. Its addresses and routes go with it.",
                delete + add_and_set_up(case.netns, tunnel),
            ),
            Fix(Where.PATH, "If the numbers jump to and fro, the path changes their order."),
        ),
        "The number that the kernel expects cannot be read from outside; nothing else that "
        f"{tunnel.name} checks at this place speaks against the packet.",
    )


@cause("ecn", "congestion was marked outside on a packet that inside cannot bear the mark")
def ecn(case: Case) -> Finding | None:
    """RFC 6040 section 4.2: CE outside and Not-ECT inside is to be dropped."""
    packet = case.packet
    over_ipv6 = _refused_inside(case)
    if over_ipv6:
        if packet is None or packet.tos & ECN_MASK:
            return None
        return _marked(case, over_ipv6, str(packet.remote), str(packet.local))
    tunnel = _refuser(case)
    if not tunnel or not packet or not packet.inner or not case.drop.is_pulled:
        return None
    if packet.tos & ECN_MASK != ECN_CE or packet.inner.tos & ECN_MASK or _is_cut(packet):
        return None
    return _marked(case, tunnel, str(packet.inner.source), str(packet.inner.destination))


def _marked(case: Case, tunnel: Tunnel, source: str, destination: str) -> Finding:
    return _finding(
        case,
        tunnel,
        f"Packets of {tunnel.name} arrive marked with congestion (ECN CE) in their outer header, "
        f"but {source} > {destination} inside does not speak ECN, so they are dropped (RFC 6040).",
        (
            Fix(
                Where.PATH,
                "Find the router that sets both ECN bits in packets that did not offer ECN: most "
                "often one that rewrites the whole TOS byte instead of its upper six bits (DSCP).",
            ),
            Fix(
                Where.PEER,
                "Or the peer sets the outer ECN bits by itself: have it copy them from the inner "
                "packet (RFC 6040), and give the tunnel no TOS whose lowest two bits are set.",
            ),
        ),
    )


@cause("truncated-inner", "what the tunnel carries is cut short")
def truncated_inner(case: Case) -> Finding | None:
    """Less than a header inside, or less than the header inside says."""
    tunnel = _truncated_for(case)
    if not tunnel:
        return None
    peer = tunnel.remote or "the peer"
    return _finding(
        case,
        tunnel,
        f"A packet of {tunnel.name} ends before what it carries does: it was cut short on the way "
        f"or by {peer}.",
        (
            Fix(
                Where.PEER,
                f"Look at what {peer} puts into the tunnel: its own packets are whole only if "
                "the inner length is no more than what follows the GRE header.",
            ),
            Fix(Where.PATH, "Or find what cuts packets on the way, and does not fragment them."),
        ),
    )


def _truncated_for(case: Case) -> Tunnel | None:
    drop, packet = case.drop, case.packet
    if drop.on_tunnel:
        inside = _refused_inside(case)
        if inside:
            return inside if packet is None else None
        # ip_rcv_core() and ip6_rcv_core(), once the tunnel has delivered it.
        is_short = drop.reason in ("PKT_TOO_SMALL", "HDR_TRUNC")
        at_receipt = drop.place.function.startswith(("ip_rcv", "ip6_rcv", "ipv6_rcv"))
        return case.carrier if case.delivered and is_short and at_receipt else None
    if not packet or not packet.gre or not _is_cut(packet):
        return None
    if drop.is_pulled:
        return _refuser(case)
    if drop.place.function in PULLERS and len(packet.payload) < ETHERNET_SIZE:
        taker = case.chosen if packet.gre.protocol == ETH_P_TEB else None
        return taker if taker and not taker.fallback else None
    return None


def _refuser(case: Case) -> Tunnel | None:
    """Return the tunnel of the user's that refused a packet while it was still the underlay's."""
    if not case.is_refused or case.drop.on_tunnel or not case.chosen or case.chosen.fallback:
        return None
    return case.chosen


def _refuser_of_number(case: Case) -> Tunnel | None:
    """Return the tunnel that can only have refused the packet for its sequence number."""
    tunnel, packet = _refuser(case), case.packet
    if not tunnel or not packet or not tunnel.iseq or case.drop.is_pulled:
        return None
    return tunnel if _checksums_agree(tunnel, packet) else None


def _refused_inside(case: Case) -> Tunnel | None:
    """Return the tunnel over IPv6 that had made the packet its own when it refused it.

    __ip6_tnl_rcv() gives it the tunnel's device before it looks at length and ECN.
    """
    tunnel = case.carrier
    if not tunnel or not case.is_refused or tunnel.fallback or kind_of(tunnel).family == 4:
        return None
    return tunnel


def _checksums_agree(tunnel: Tunnel, packet: Packet) -> bool:
    return bool(packet.gre and packet.gre.has_checksum == tunnel.icsum)


def _is_cut(packet: Packet) -> bool:
    """Whether there is less than the header that the kernel wants to see."""
    protocol, size = packet.gre.protocol if packet.gre else 0, len(packet.payload)
    if protocol != ETH_P_TEB:
        return size < INNER_SIZE.get(protocol, 0)
    if size < ETHERNET_SIZE:
        return True
    carried = int.from_bytes(packet.payload[12:14], "big")
    return size - ETHERNET_SIZE < INNER_SIZE.get(carried, 0)


def _finding(case: Case, tunnel: Tunnel, summary: str, fix: Sequence[Fix], *more: str) -> Finding:
    observed = [describe_packet(case.packet)] if case.packet else []
    attributes = [name for name in ("icsum", "iseq") if getattr(tunnel, name)]
    return Finding(
        summary=summary,
        evidence=(
            *observed,
            describe_tunnel(tunnel),
            f"{tunnel.name} has {' and '.join(attributes) or 'neither icsum nor iseq'}.",
            *more,
        ),
        fix=tuple(fix),
        path=(case.iif or "?", "gre_rcv", "parse", "lookup", case.drop.place.function),
        tunnel=tunnel.name,
    )
