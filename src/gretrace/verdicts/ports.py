# SPDX-License-Identifier: GPL-2.0-only
"""GRE in UDP came to a port that nothing here has opened (net/ipv4/fou_core.c)."""

from gretrace.commands import Command, Netns, Word, run, sysctl
from gretrace.kernel import stack
from gretrace.model import GRE, Confidence, Finding, Fix, Packet, Tunnel, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_death, describe_packet, describe_tunnel

# Of both versions of IP.
IN_VRFS = "net.ipv4.udp_l3mdev_accept"
NAMES = {"fou": "FOU", "gue": "GUE"}


@cause(
    "encap-port-closed",
    "packets of the tunnel come in UDP (FOU, GUE), and nothing here has opened their port",
    stack.no_listener,
)
def encap_port_closed(case: Case) -> Finding | None:
    """UDP finds no socket, and what the packet carries is a packet that a tunnel waits for.

    UDP that is for no tunnel is not told of, nor is any before v5.17, which has no reason for it.
    """
    packet, tunnel = case.packet, case.chosen
    if packet is None or packet.udp_port is None or packet.udp_type is None:
        return None
    if tunnel is None or tunnel.fallback:
        return None
    port, around = packet.udp_port, NAMES[packet.udp_type]
    own = tunnel.encap
    told = (
        f"{tunnel.name} itself sends by {NAMES[own.type]} to port {own.dport}."
        if own
        else f"{tunnel.name} itself sends without UDP around."
    )
    vrf = case.vrf.vrf if case.vrf else None
    note, command = (
        f"Open the port for {around}, and again at each boot.",
        _open(case.netns, packet),
    )
    if vrf and case.host.sysctl(IN_VRFS) != "1":
        note += f" {IN_VRFS} lets all UDP ports that are open outside of {vrf} serve it too."
        command = sysctl(case.netns, {IN_VRFS: 1}) + command
    fixes = [Fix(Where.HERE, note, command)]
    if own and own.dport != port:
        fixes.append(
            Fix(
                Where.PEER,
                f"Or, if port {own.dport} is meant, have {packet.remote} send to that "
                "(encap-dport).",
            )
        )
    if own is None:
        fixes.append(Fix(Where.PEER, f"Or have {packet.remote} send GRE without UDP around."))
    return Finding(
        summary=f"{packet.remote} sends packets of {tunnel.name} by {around} to UDP port {port}, "
        f"which nothing here has opened{f' in the VRF {vrf}' if vrf else ''}.",
        evidence=(
            describe_packet(packet),
            describe_tunnel(tunnel),
            told,
            describe_death(case.drop),
            f"`{run(case.netns, 'ip', 'fou', 'show')}` tells the ports that are open.",
        ),
        fix=tuple(fixes),
        path=(case.iif or "?", "UDP", str(case.drop.place)),
        confidence=Confidence.CERTAIN if _is_expected(tunnel, packet) else Confidence.LIKELY,
        tunnel=tunnel.name,
    )


def _is_expected(tunnel: Tunnel, packet: Packet) -> bool:
    return tunnel.encap is not None and tunnel.encap.type == packet.udp_type


def _open(netns: Netns, packet: Packet) -> Command:
    family: tuple[Word, ...] = ("-6",) if packet.family == 6 else ()
    what: tuple[Word, ...] = ("gue",) if packet.udp_type == "gue" else ("ipproto", GRE)
    return run(netns, "ip", "fou", "add", "port", packet.udp_port or 0, *what, *family)
