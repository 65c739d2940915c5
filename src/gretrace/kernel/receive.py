# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's way of a received GRE packet, from the demultiplexer to the tunnel's device.

Row by row in the order of the sources, to be laid beside them: net/ipv4/gre_demux.c,
net/ipv4/ip_gre.c, net/ipv4/ip_tunnel.c; net/ipv6/ip6_gre.c, net/ipv6/ip6_tunnel.c. None of these
steps gives a reason (v7.2). A function that compilers put into its caller frees there:
ipgre_rcv(), erspan_rcv(), ip6gre_rcv() and ip6erspan_rcv() in gre_rcv() of their modules.
"""

from dataclasses import replace

from gretrace.kernel.kinds import ERSPAN, GRE_BASE, MODULES, kind_of
from gretrace.kernel.lookup import Tables
from gretrace.kernel.passage import ERSPAN_BASE, IP_SIZES, VLANS, Passage
from gretrace.kernel.way import By, Free, Step, Way, step
from gretrace.model import ETH_P_TEB, Drop, Tunnel
from gretrace.wire.packet import ETHERNET_SIZE

DEMUX_MINIMUM = 12
# "ver" of gre_rcv() in gre_demux.c has the reserved bits of RFC 2784 in it.
VERSION_BITS = {4: 0x7F, 6: 0x07}
ECN_MASK = ECN_CE = 3  # RFC 3168
NUMBERS = 1 << 32  # sequence numbers go round

DEMUX = Free(("gre_rcv",), "gre", family=4, by_then=By.OUTER)
IP_GRE = Free(("gre_rcv",), MODULES[4], family=4, by_then=By.OUTER)
IP_GRE_PULL = Free(("__ipgre_rcv",), MODULES[4], family=4, by_then=By.OUTER)
IP_TUNNEL = Free(("ip_tunnel_rcv",), "ip_tunnel", family=4, by_then=By.OUTER)
IP_TUNNEL_PULLED = replace(IP_TUNNEL, by_then=By.PULLED)
IP6_GRE = Free(("gre_rcv",), MODULES[6], family=6, by_then=By.OUTER)
# Some compilers put the first into the second.
IP6_TUNNEL = Free(("__ip6_tnl_rcv", "ip6_tnl_rcv"), "ip6_tunnel", family=6, by_then=By.UNDERLAY)
IP6_TUNNEL_INNER = replace(IP6_TUNNEL, by_then=By.INNER)


# gre_rcv() of net/ipv4/gre_demux.c; over IPv6 there is no such thing.


@step(DEMUX)
def too_short(p: Passage) -> bool | None:
    """It has less than 12 bytes from the GRE header on."""
    return p.length < DEMUX_MINIMUM if p.outer else None


@step(DEMUX)
def other_version(p: Passage) -> bool | None:
    """Nothing here takes its version of GRE, of which the reserved bits count as a part."""
    # Version 1 is PPTP's, and pptp_rcv() frees what it does not like by itself.
    return None if p.gre is None else bool(p.gre.flags & VERSION_BITS[4])


@step(DEMUX)
def no_receiver(p: Passage) -> bool | None:
    """The demultiplexer is loaded, and no module that takes GRE of version 0."""
    state = p.host.module_state(MODULES[4])
    # It may have been loaded since.
    return {"loadable": True, "built in": False}.get(state or "")


# gre_rcv() of net/ipv4/ip_gre.c


@step(IP_GRE)
def multicast_loop(p: Passage) -> bool | None:
    """It is a multicast packet of this host's own, which ip_mc_output() sent back to it."""
    if p.outer is None:
        return None
    if not p.outer.local.is_multicast:
        return False
    route = p.host.route(p.outer.remote)
    is_known = route.is_own or route.device is not None or route.error is not None
    return route.is_own if is_known else None


# gre_parse_header() of net/ipv4/gre_demux.c, called by gre_rcv() of ip_gre.c and ip6_gre.c


@step(IP_GRE, IP6_GRE)
def no_header(p: Passage) -> bool | None:
    """It has less than the four bytes that every GRE header has."""
    return p.length < GRE_BASE if p.outer else None


@step(IP_GRE, IP6_GRE)
def refused_flags(p: Passage) -> bool | None:
    """Its header has a version other than 0, or asks for source routing."""
    return None if p.gre is None else bool(p.gre.version or p.gre.has_routing)


@step(IP_GRE, IP6_GRE)
def cut_header(p: Passage) -> bool | None:
    """It ends before the fields that its flags announce."""
    return None if p.gre is None else p.length < p.gre.size


@step(IP_GRE, IP6_GRE)
def wrong_checksum(p: Passage) -> bool | None:
    """The checksum in its header is wrong."""
    if p.gre is None:
        return None
    if not p.gre.has_checksum:
        return False
    # Unknown where too little was kept, or where hardware was to fill it in.
    return None if p.gre.checksum_valid is None else not p.gre.checksum_valid


@step(IP_GRE, IP6_GRE)
def cut_own_header(p: Passage) -> bool | None:
    """It ends before the ERSPAN or WCCP header that its protocol announces."""
    if p.gre is None:
        return None
    needed = ERSPAN_BASE if p.has_erspan_header else int(p.is_wccp)
    return p.length < p.gre.size + needed


# iptunnel_pull_header() in gre_rcv() of net/ipv6/ip6_gre.c, before the lookup


@step(IP6_GRE)
def cut_frame_before_lookup(p: Passage) -> bool | None:
    """It carries a frame that is shorter than an Ethernet header, or ends in its WCCP header."""
    if p.gre is None or p.own_header_size is None:
        return None
    pulled = p.gre.size + (p.own_header_size if p.is_wccp else 0)
    return p.length < pulled + (ETHERNET_SIZE if p.gre.protocol == ETH_P_TEB else 0)


# ip_tunnel_lookup() of net/ipv4/ip_tunnel.c, ip6gre_tunnel_lookup() of net/ipv6/ip6_gre.c


@step(IP_GRE, IP6_GRE)
def no_tunnel(p: Passage) -> bool | None:
    """No tunnel takes it, which is answered by ICMP "port unreachable"."""
    if p.query is None or p.tables is None:
        return None
    return p.tunnel is None


# erspan_rcv() of net/ipv4/ip_gre.c, ip6erspan_rcv() of net/ipv6/ip6_gre.c


@step(IP_GRE, IP6_GRE)
def cut_erspan(p: Passage) -> bool | None:
    """It ends before its frame's Ethernet header, behind an ERSPAN header of that version."""
    if p.gre is None or p.own_header_size is None:
        return None
    is_erspan = p.gre.protocol in ERSPAN
    return is_erspan and p.length < p.gre.size + p.own_header_size + ETHERNET_SIZE


# __iptunnel_pull_header() in __ipgre_rcv() of net/ipv4/ip_gre.c


@step(IP_GRE_PULL)
def cut_frame(p: Passage) -> bool | None:
    """A gretap tunnel takes it, but the frame that it carries is shorter than its header."""
    if p.tunnel is None or p.gre is None or p.own_header_size is None:
        return None
    pulled = p.gre.size + p.own_header_size
    return p.length < pulled + (ETHERNET_SIZE if kind_of(p.tunnel).is_ethernet else 0)


# ip_tunnel_rcv() of net/ipv4/ip_tunnel.c, __ip6_tnl_rcv() of net/ipv6/ip6_tunnel.c


@step(IP_TUNNEL, IP6_TUNNEL, counts=("rx_crc_errors", "rx_errors"))
def checksum_flag(p: Passage) -> bool | None:
    """One side has checksums and the other has not."""
    return None if p.tunnel is None or p.gre is None else p.gre.has_checksum != p.tunnel.icsum


@step(IP_TUNNEL, IP6_TUNNEL, counts=("rx_fifo_errors", "rx_errors"))
def no_sequence(p: Passage) -> bool | None:
    """The tunnel wants sequence numbers, and it has none."""
    if p.tunnel is None or p.gre is None:
        return None
    return p.tunnel.iseq and not p.gre.has_sequence


@step(IP_TUNNEL, IP6_TUNNEL, counts=("rx_fifo_errors", "rx_errors"))
def old_sequence(p: Passage) -> bool | None:
    """Its sequence number is lower than the last one that the tunnel took."""
    if p.tunnel and not p.tunnel.iseq:
        return False
    if p.tunnel is None or p.gre is None or p.gre.sequence is None or p.sequences is None:
        return None
    expected = p.sequences.get(p.tunnel.ifindex, 0)
    return bool(expected) and (p.gre.sequence - expected) % NUMBERS >= NUMBERS // 2


@step(IP6_TUNNEL, counts=("rx_length_errors", "rx_errors"))
def cut_frame_over_ipv6(p: Passage) -> bool | None:
    """A tunnel for frames takes it, and it carries less than an Ethernet header."""
    if p.tunnel is None or p.carried is None:
        return None
    return kind_of(p.tunnel).is_ethernet and p.carried.length < 0


@step(IP_TUNNEL_PULLED, IP6_TUNNEL_INNER, counts=("rx_length_errors", "rx_errors"))
def cut_inside(p: Passage) -> bool | None:
    """What the tunnel carries ends before the IP header that it announces."""
    if p.carried is None or p.carried.protocol is None:
        return None
    return p.carried.length < IP_SIZES.get(p.carried.protocol, 0)


@step(IP_TUNNEL_PULLED, IP6_TUNNEL_INNER, counts=("rx_frame_errors", "rx_errors"))
def congestion_mark(p: Passage) -> bool | None:
    """Congestion was marked outside, on a packet that inside cannot bear the mark (RFC 6040)."""
    if p.outer and p.outer.tos & ECN_MASK != ECN_CE:
        return False
    if p.carried is None or p.carried.protocol is None:
        return None
    if p.carried.protocol in VLANS:
        # IP_ECN_decapsulate() of net/inet_ecn.h finds an IP packet behind the tag, and reads
        # what it has for the packet's header from the tag.
        return None
    if p.carried.protocol not in IP_SIZES:
        return False
    if p.carried.tos is None:
        return None
    if p.carried.tos & ECN_MASK:
        return False
    return True if p.outer else None


def find_device(drop: Drop, tables: Tables | None) -> Tunnel | None:
    """Return the tunnel that had made a packet its own by then, without outer headers."""
    if tables is None or not IP6_TUNNEL_INNER.matches(drop, 6):
        return None
    tunnel = tables.by_ifindex(drop.ifindex)
    return tunnel if tunnel and kind_of(tunnel).family == 6 else None


_HEADER = (no_header, refused_flags, cut_header, wrong_checksum, cut_own_header)
# What a tunnel does that was found: it counts an error, and frees the packet.
REFUSALS = (
    *(checksum_flag, no_sequence, old_sequence, cut_frame_over_ipv6, cut_inside, congestion_mark),
)
WAYS = {
    4: Way(
        4,
        (
            *(too_short, other_version, no_receiver, multicast_loop),
            *_HEADER,
            *(no_tunnel, cut_erspan, cut_frame),
            *(checksum_flag, no_sequence, old_sequence, cut_inside, congestion_mark),
        ),
    ),
    6: Way(
        6,
        (
            *_HEADER,
            *(cut_frame_before_lookup, no_tunnel, cut_erspan),
            *(checksum_flag, no_sequence, old_sequence),
            *(cut_frame_over_ipv6, cut_inside, congestion_mark),
        ),
    ),
}
FUNCTIONS = WAYS[4].functions | WAYS[6].functions


def header_fault(passage: Passage) -> Step[Passage] | None:
    """Return the step at which its header alone ends a packet, if it is known to."""
    steps = (too_short, other_version, *_HEADER) if passage.family == 4 else _HEADER
    return Way(passage.family or 4, steps).walk(passage).step


def is_refusal(drop: Drop, family: int) -> bool:
    """Whether a tunnel that was found freed the packet, as far as the place tells."""
    return any(each.can_free(drop, family) for each in REFUSALS)


def is_of_outer(drop: Drop) -> bool:
    """Whether it was freed by what takes a packet with its outer headers, as the place tells."""
    return drop.place.function in FUNCTIONS and not IP6_TUNNEL_INNER.matches(drop, 6)
