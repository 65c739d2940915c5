# SPDX-License-Identifier: GPL-2.0-only
"""Whether a packet died in its GRE header or without it, and which tunnel it belongs to."""

from gretrace.model import Packet, Tunnel
from gretrace.verdicts.case import Case


def outer(case: Case) -> Packet | None:
    """The packet, if it died with its outer headers."""
    packet = case.packet
    if packet is None or not packet.gre:
        return None
    return packet if case.is_wrapped or not case.drop.on_tunnel else None


def inner(case: Case) -> Packet | None:
    """The packet, if it died on a tunnel's device without outer headers."""
    if case.delivered:
        return case.delivered
    sent = case.drop.on_tunnel and case.drop.is_sent
    return case.packet if sent and not outer(case) else None


def owner(case: Case) -> Tunnel | None:
    """The tunnel that the packet belongs to, if there is one."""
    if case.carrier or case.tables is None or not case.drop.is_sent:
        return case.carrier or case.chosen
    packet = case.packet
    ours = (
        tunnel
        for tunnel in case.tables.tunnels
        if packet and (tunnel.local, tunnel.remote) == (packet.remote, packet.local)
    )
    return next(ours, None)


def owner_name(case: Case) -> str | None:
    """The name of that tunnel."""
    tunnel = owner(case)
    return tunnel.name if tunnel else None
