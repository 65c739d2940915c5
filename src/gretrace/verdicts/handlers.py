# SPDX-License-Identifier: GPL-2.0-only
"""A tunnel took the packet, and nothing here speaks what it carries."""

from gretrace.kernel import stack
from gretrace.kernel.kinds import FRAMES, kind_of
from gretrace.model import MPLS, Ask, Change, Finding, Fix, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_traffic, describe_tunnel, show_protocol

CDP = 0x2000

# What a protocol type tells of the peer, by who can do something about it.
WAYS = {
    Where.PEER: {
        0x0000: "It answers keepalives; nothing here waits for the answer, so it can be ignored.",
        0x0004: "It is what Linux calls a frame whose EtherType it cannot read (ETH_P_802_2): the "
        "peer answers keepalives with a program that leaves the type to its kernel. It should "
        "answer with protocol 0x0800.",
        CDP: "It announces itself to Cisco devices; on the peer, no cdp enable ends it.",
    },
    Where.HERE: {
        0x00FE: "The peer speaks IS-IS through the tunnel: run a routing daemon that does (FRR's "
        "isisd), or have the peer leave this tunnel out.",
        0x2001: "The peer registers by NHRP (RFC 2332), as a spoke of DMVPN does: run an NHRP "
        "daemon here (FRR's nhrpd, OpenNHRP) on this tunnel, or packets to what is behind the "
        "peer do not know where to go.",
    },
}


@cause(
    "no-handler",
    "nothing here speaks the protocol that the tunnel carries",
    stack.no_protocol,
)
def no_handler(case: Case) -> Finding | None:
    """An L3 tunnel took the packet, and the kernel has nothing that takes its protocol."""
    tunnel, protocol = case.carrier, case.drop.protocol
    if not tunnel or tunnel.fallback or kind_of(tunnel).is_ethernet or case.drop.is_sent:
        return None
    if protocol is None or protocol in FRAMES or protocol in MPLS:
        return None
    shown = show_protocol(protocol)
    traffic = describe_traffic(tunnel, case.traffic.get(tunnel.ifindex))
    where, note = next(
        ((who, ways[protocol]) for who, ways in WAYS.items() if protocol in ways),
        (Where.PEER, f"Have it send no {shown}, or run here what speaks it."),
    )
    return Finding(
        summary=f"{tunnel.name} has received packets of protocol {shown} from "
        f"{tunnel.remote or 'its peer'}, which nothing here speaks.",
        evidence=(
            describe_tunnel(tunnel),
            *([traffic] if traffic else []),
            "The tunnel took the packet, and the kernel then had no handler for its protocol.",
        ),
        fix=(Fix(where, note, ask=Ask(Change.NO_CDP, tunnel.kind) if protocol == CDP else None),),
        path=(tunnel.name, "decapsulated", case.drop.place.function),
        tunnel=tunnel.name,
    )
