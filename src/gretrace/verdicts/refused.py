# SPDX-License-Identifier: GPL-2.0-only
"""A tunnel was found for the packet, and refuses it.

ip_tunnel_rcv() of net/ipv4/ip_tunnel.c and __ip6_tnl_rcv() of net/ipv6/ip6_tunnel.c look, in
this order, at the checksum flag, the sequence number, the length and the ECN bits of what the
tunnel carries. They give no reason; a counter of the tunnel's errors goes up.
"""

from collections.abc import Sequence

from gretrace.commands import ip_link
from gretrace.kernel import receive
from gretrace.kernel.stack import cut_short
from gretrace.model import Ask, Change, Finding, Fix, Tunnel, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.choice import LOOKED_UP
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import (
    add_and_set_up,
    change_command,
    describe_packet,
    describe_tunnel,
)
from gretrace.wire.packet import parse_packet


@cause(
    "checksum-policy",
    "one side uses GRE checksums and the other does not",
    receive.checksum_flag,
)
def checksum_policy(case: Case) -> Finding | None:
    """A tunnel with icsum and a packet without a checksum, or the other way round."""
    tunnel, packet = _refuser(case), case.packet
    if not tunnel or not packet or not packet.gre:
        return None
    wanted = packet.gre.has_checksum
    if wanted:
        summary = f"{tunnel.name} expects no checksum, but the packets from {packet.remote} have"
        note = "Expect a checksum"
        peer = "Or take the checksum off the peer's tunnel (ocsum; on Cisco, tunnel checksum)."
    else:
        summary = f"{tunnel.name} expects a checksum, but the packets from {packet.remote} have"
        note = "Expect no checksum"
        peer = "Or have the peer send a checksum (ocsum; on Cisco, tunnel checksum)."
    # Who made both ways alike means them to be: the peer, made the same, refuses ours as well.
    changes = {"icsum": wanted} | ({"ocsum": wanted} if tunnel.icsum == tunnel.ocsum else {})
    note += ", and send as the peer does." if len(changes) > 1 else "; what we send stays as it is."
    return _finding(
        case,
        tunnel,
        f"{summary} {'one' if wanted else 'none'}.",
        (
            Fix(Where.HERE, note, change_command(case.netns, tunnel, **changes)),
            Fix(
                Where.PEER,
                peer,
                ask=Ask(
                    Change.NO_CHECKSUM if wanted else Change.CHECKSUM,
                    tunnel.kind,
                    both_ways=tunnel.icsum == tunnel.ocsum,
                ),
            ),
        ),
    )


@cause(
    "sequence-policy",
    "the tunnel expects sequence numbers and the packet has none",
    receive.no_sequence,
)
def sequence_policy(case: Case) -> Finding | None:
    """A tunnel with iseq takes no packet without a number; the other way round it does not care."""
    tunnel, packet = _refuser(case), case.packet
    if not tunnel or not packet:
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
                ask=Ask(Change.SEQUENCE, tunnel.kind, both_ways=tunnel.oseq),
            ),
        ),
    )


@cause(
    "sequence-old",
    "the sequence number is lower than one that the tunnel has seen already",
    receive.old_sequence,
)
def sequence_old(case: Case) -> Finding | None:
    """All that a tunnel with iseq can have against a packet that has a number."""
    tunnel, packet = _refuser(case), case.packet
    if not tunnel or not packet or not packet.gre:
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


@cause(
    "ecn",
    "congestion was marked outside on a packet that inside cannot bear the mark",
    receive.congestion_mark,
)
def ecn(case: Case) -> Finding | None:
    """RFC 6040 section 4.2: CE outside and Not-ECT inside is to be dropped."""
    tunnel, carried = _refuser(case), case.passage.carried
    if not tunnel or not carried:
        return None
    inner = case.packet if case.passage.device else parse_packet(carried.data, carried.length)
    return _marked(case, tunnel, str(inner.remote), str(inner.local)) if inner else None


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
                ask=Ask(Change.TOS, tunnel.kind),
            ),
        ),
    )


@cause(
    "truncated-inner",
    "what the tunnel carries is cut short",
    *(receive.cut_frame_before_lookup, receive.cut_erspan, receive.cut_frame),
    *(receive.cut_frame_over_ipv6, receive.cut_inside, cut_short),
)
def truncated_inner(case: Case) -> Finding | None:
    """Less than a header inside, or less than the header inside says."""
    is_delivered = case.is_at(cut_short)
    tunnel = (case.carrier if case.delivered else None) if is_delivered else _refuser(case)
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


def _refuser(case: Case) -> Tunnel | None:
    """Return the tunnel of the user's that refused a packet while it was still the underlay's.

    Over IPv6 it had made it its own by then, before it looked at what it carries.
    """
    if case.drop.on_tunnel and not case.passage.device:
        return None
    tunnel = case.passage.tunnel
    return None if tunnel is None or tunnel.fallback else tunnel


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
        path=(case.iif or "?", *LOOKED_UP, case.drop.place.function),
        tunnel=tunnel.name,
    )
