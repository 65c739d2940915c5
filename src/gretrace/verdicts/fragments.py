# SPDX-License-Identifier: GPL-2.0-only
"""A GRE packet was cut on its way here, and its fragments do not all come."""

from gretrace.kernel import stack
from gretrace.kernel.kinds import largest_segment, mtu_that_fits
from gretrace.kernel.settings import read_number
from gretrace.kernel.way import UNTOLD
from gretrace.model import GRE, Ask, Change, Confidence, Finding, Fix, Packet, Tunnel, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import (
    clamp_segments,
    describe_death,
    describe_packet,
    describe_tunnel,
)

# In seconds. Over IPv6 conntrack puts packets together by itself, in a module of its own.
PATIENCE = {4: "net.ipv4.ipfrag_time", 6: "net.ipv6.ip6frag_time"}
CONNTRACK = ("nf_defrag_ipv6", "net.netfilter.nf_conntrack_frag6_timeout")


@cause(
    "fragment-lost",
    "a GRE packet, or one inside the tunnel, came in fragments, and not all of them",
    stack.lost_fragment,
)
def fragment_lost(case: Case) -> Finding | None:
    """The kernel gives up to put it together: the reason says so, before v6.2 the function.

    The first fragment tells tunnel and MTU; of later ones alone the kernel keeps no device.
    """
    packet, drop = case.packet, case.drop
    if packet is None or drop.is_sent:
        return None
    if drop.on_tunnel:
        return _inside(case)
    if packet.protocol != GRE:
        return None
    tunnel = _meant(case, packet)
    return Finding(
        summary=f"GRE packets from {packet.remote} to {packet.local} {_came(case, packet)}.",
        evidence=(
            describe_packet(packet),
            *([describe_tunnel(tunnel)] if tunnel else []),
            f"The fragment that came has {packet.length} bytes.",
            describe_death(drop),
            *([] if case.tables else ["The kernel had not kept by which device it came."]),
        ),
        fix=_fixes(case, packet, tunnel),
        path=(case.iif or "?", "reassembly", str(drop.place)),
        confidence=_confidence(case, packet),
        tunnel=tunnel.name if tunnel else None,
    )


def _inside(case: Case) -> Finding | None:
    packet, tunnel = case.delivered, case.carrier
    if packet is None or tunnel is None:
        return None
    peer = tunnel.remote or "the peer"
    return Finding(
        summary=f"Packets from {packet.remote} to {packet.local} that {tunnel.name} has received "
        f"{_came(case, packet)}.",
        evidence=(
            describe_packet(packet),
            describe_tunnel(tunnel),
            f"The fragment that came has {packet.length} bytes.",
            describe_death(case.drop),
        ),
        fix=(
            Fix(
                Where.PATH,
                f"Find what loses packets between {peer} and this host: each fragment is a packet "
                "of the tunnel of its own.",
            ),
            Fix(
                Where.PEER,
                f"Or have {packet.remote} send what needs no fragments: no more than "
                f"{packet.length} bytes at once came whole.",
            ),
        ),
        path=(tunnel.name, "decapsulated", "reassembly", str(case.drop.place)),
        confidence=_confidence(case, packet),
        tunnel=tunnel.name,
    )


def _came(case: Case, packet: Packet) -> str:
    """Say which fragment came, and for how long the others were waited for."""
    module, setting = CONNTRACK
    if case.drop.place.module != module:
        setting = PATIENCE[packet.family]
    seconds = read_number(case.host.sysctl, setting)
    came = "a later fragment" if packet.is_fragment else "their first fragment"
    within = f" within {seconds} s" if seconds else ""
    return f"come in fragments: of these, {came} came, and not all the others{within}"


def _confidence(case: Case, packet: Packet) -> Confidence:
    """Without a reason, a later fragment may have ended there for something else."""
    is_sure = not packet.is_fragment or case.drop.reason not in UNTOLD
    return Confidence.CERTAIN if is_sure else Confidence.LIKELY


def _meant(case: Case, packet: Packet) -> Tunnel | None:
    """Return the tunnel that it is for, as far as one fragment tells."""
    if case.chosen and not case.chosen.fallback:
        return case.chosen
    if case.tables is None:
        return None
    ends = (packet.local, packet.remote)
    between = [t for t in case.tables.tunnels if (t.local, t.remote) == ends]
    return between[0] if len(between) == 1 else None


def _fixes(case: Case, packet: Packet, tunnel: Tunnel | None) -> tuple[Fix, ...]:
    path = Fix(
        Where.PATH,
        f"Or find what drops fragments between {packet.remote} and this host: a filter, a NAT or a "
        "balancer that looks for ports, of which later fragments have none.",
    )
    if tunnel is None or packet.gre is None:
        note = (
            f"Have {packet.remote} send what needs no fragments: a lower MTU of its tunnel, or "
            "path MTU discovery."
        )
        return (Fix(Where.PEER, note), path)
    mtu = case.route(packet.remote).mtu
    fits = mtu_that_fits(min(packet.length, mtu or packet.length), tunnel)
    inner = packet.inner.source.version if packet.inner else 4
    segment = largest_segment(fits, inner)
    return (
        Fix(
            Where.PEER,
            f"Give the tunnel of {packet.remote} an MTU of {fits}, then what it sends needs no "
            "fragments.",
            ask=Ask(Change.MTU_IPV6 if inner == 6 else Change.MTU, tunnel.kind, fits),
        ),
        Fix(
            Where.HERE,
            f"Or, for TCP that is forwarded here: announce segments of {segment} bytes to those "
            f"beyond {tunnel.name}.",
            clamp_segments(case.netns, segment),
        ),
        path,
    )
