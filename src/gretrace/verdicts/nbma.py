# SPDX-License-Identifier: GPL-2.0-only
"""A tunnel without a remote, and nothing says where a packet is to go."""

from gretrace.commands import run
from gretrace.model import Address, Finding, Fix, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.standing import next_hop, waits_for_neighbour
from gretrace.verdicts.words import describe_packet, describe_tunnel

# Where neighbour output gives up for want of an address: ipgre_header() has none to put in.
OUTPUTS = ("neigh_connected_output", "neigh_resolve_output", "neigh_direct_output")
# ARP asks the broadcast address, which such a tunnel has not (ip_tunnel_xmit()).
ARP = 0x0806


@cause("tx-no-nbma", "a tunnel without remote, and nothing says where the next hop lives")
def tx_no_nbma(case: Case) -> Finding | None:
    """The packet dies for want of a neighbour entry, or comes back to this host itself.

    Without an entry the kernel takes the tunnel's own local address for the next hop's
    (arp_constructor() of a device with NOARP).
    """
    tunnel, hop = case.anywhere, None
    if tunnel is None or not case.iif:
        return None
    packet, asks = case.packet, case.drop.protocol == ARP
    if packet is not None:
        hop = next_hop(case, packet.local)
    if not (case.is_echoed or _is_for_want(case) or (asks and case.drop.is_sent)):
        return None
    which = str(hop) if hop else "the next hop"
    return Finding(
        summary=f"{tunnel.name} has no remote, and no neighbour entry says at which address "
        f"{which} is reached, so what goes to {packet.local if packet else which} cannot leave.",
        evidence=(
            *([describe_packet(packet)] if packet else ["An ARP request of this host."]),
            describe_tunnel(tunnel),
            _what_became(case),
        ),
        fix=(
            Fix(
                Where.HERE,
                f"Say where it lives, with NBMA the underlay's address of the peer that has "
                f"{which}: `{_neighbour(case, hop)}`. Or run what learns it: an NHRP daemon "
                "(FRR's nhrpd, OpenNHRP).",
            ),
        ),
        path=(case.iif, "neighbour", str(case.drop.place)),
        tunnel=tunnel.name,
    )


def _freed(case: Case) -> str:
    return f"The kernel freed it in {case.drop.place}."


def _is_for_want(case: Case) -> bool:
    function = case.drop.place.function
    return case.drop.is_sent and (function in OUTPUTS or waits_for_neighbour(case))


def _what_became(case: Case) -> str:
    if case.is_echoed:
        return (
            "Without an entry the kernel sends to the tunnel's own local address: the packet came "
            f"back to this host, and was freed in {case.drop.place}."
        )
    return _freed(case)


def _neighbour(case: Case, hop: Address | None) -> object:
    return run(
        *(case.netns, "ip", "neigh", "add", hop or "NEXTHOP", "lladdr", "NBMA"),
        *("dev", case.iif or "?"),
    )
