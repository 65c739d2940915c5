# SPDX-License-Identifier: GPL-2.0-only
"""What a tunnel that sends stands on: its device, and its next hop."""

from gretrace.commands import Word
from gretrace.kernel import send
from gretrace.model import Address, Device, Tunnel
from gretrace.verdicts.case import Case


def waits_for_neighbour(case: Case) -> bool:
    """Whether it died where packets wait for a neighbour's address (net/core/neighbour.c)."""
    return send.silent_neighbour.can_free(case.drop, 4)


def in_vrf(case: Case) -> tuple[Word, ...]:
    """Return what `ip route` is told to look into the table of the drop's VRF, if it has one."""
    return ("vrf", case.vrf.vrf) if case.vrf and case.vrf.vrf else ()


def next_hop(case: Case, destination: Address) -> Address:
    """Return whom a device of the drop would send to, to reach an address."""
    way = case.route(destination)
    return (way.gateway if way.device == case.drop.ifindex else None) or destination


def standing_on(case: Case, tunnel: Tunnel) -> Device | None:
    """Return the device that a tunnel is bound to, or else that has its local address."""
    index = tunnel.link or (case.host.holder(tunnel.local) if tunnel.local else None)
    return case.host.device(index) if index else None
