"""Whether a packet died in its GRE header or without it, and which tunnel it belongs to."""

from gretrace.model import Packet, Tunnel
from gretrace.verdicts.case import Case


def outer(case: Case) -> Packet | None:
    """The packet, if it died with its outer headers.

    One that a tunnel sends has the tunnel's device until the underlay's takes it: between
    iptunnel_xmit() and ip_output().
    """
    packet, drop = case.packet, case.drop
    if packet is None or not packet.gre:
        return None
    if not drop.on_tunnel:
        return packet
    tunnel = case.carrier
    is_wrapped = drop.is_sent and tunnel and tunnel.remote in (None, packet.local)
    return packet if is_wrapped and packet.payload else None


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
