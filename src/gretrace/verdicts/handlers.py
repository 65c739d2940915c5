# SPDX-License-Identifier: GPL-2.0-only
"""A tunnel took the packet, and nothing here speaks what it carries."""

from gretrace.kernel import stack
from gretrace.kernel.kinds import FRAMES, kind_of
from gretrace.model import MPLS, Ask, Change, Finding, Fix, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import (
    describe_death,
    describe_packet,
    describe_traffic,
    describe_tunnel,
    show_protocol,
)

# By IP protocol: its name, and what takes it.
TAKERS = {
    4: ("IP in IP", "a tunnel of kind ipip or sit whose remote is the sender"),
    41: ("IPv6 in IP", "a tunnel of kind sit or ip6tnl whose remote is the sender"),
    50: ("ESP", "IPsec: an IKE daemon (strongSwan, Libreswan), or states of `ip xfrm state`"),
    51: ("AH", "IPsec: an IKE daemon (strongSwan, Libreswan), or states of `ip xfrm state`"),
    88: ("EIGRP", "a routing daemon (FRR's eigrpd)"),
    89: ("OSPF", "a routing daemon (FRR's ospfd or ospf6d, BIRD)"),
    103: ("PIM", "a multicast routing daemon (FRR's pimd)"),
    112: ("VRRP", "a VRRP daemon (keepalived)"),
    115: ("L2TPv3", "a tunnel of `ip l2tp`"),
    132: ("SCTP", "a program that listens on SCTP, which loads the module sctp"),
}

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
    "nothing here speaks the protocol that the tunnel carries, or the one inside of it",
    *(stack.no_protocol, stack.no_program),
)
def no_handler(case: Case) -> Finding | None:
    """An L3 tunnel took the packet, and the kernel has nothing that takes its protocol.

    Or it is for an address of this host, and no socket or module takes its IP protocol. What
    greets all hosts or routers is none: a host without OSPF is sound, whoever sends to 224.0.0.5.
    """
    if case.is_at(stack.no_program):
        return _no_program(case)
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


def _no_program(case: Case) -> Finding | None:
    packet, tunnel = case.delivered, case.carrier
    if packet is None or tunnel is None:
        return None
    number = packet.protocol
    name, taker = TAKERS.get(number, ("", ""))
    shown = f"{name} (IP protocol {number})" if name else f"IP protocol {number}"
    traffic = describe_traffic(tunnel, case.traffic.get(tunnel.ifindex))
    run_it = f"Run what takes it, if it is meant to be spoken here: {taker or 'a program for it'}."
    return Finding(
        summary=f"{packet.remote} sends {shown} to {packet.local} through {tunnel.name}, and "
        "nothing here takes that.",
        evidence=(
            describe_packet(packet),
            describe_tunnel(tunnel),
            *([traffic] if traffic else []),
            describe_death(case.drop),
        ),
        fix=(
            Fix(Where.HERE, run_it),
            Fix(Where.PEER, f"Or have {packet.remote} leave {packet.local} out of it."),
        ),
        path=(tunnel.name, "decapsulated", "delivered here", str(case.drop.place)),
        tunnel=tunnel.name,
    )
