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
    "a GRE packet came in fragments, and not all of them",
    stack.lost_fragment,
)
def fragment_lost(case: Case) -> Finding | None:
    """The kernel gives up to put it together: the reason says so, before v6.2 the function.

    The first fragment tells tunnel and MTU; of later ones alone the kernel keeps no device.
    """
    packet = case.packet
    if packet is None or packet.protocol != GRE or case.drop.on_tunnel or case.drop.is_sent:
        return None
    tunnel = _meant(case, packet)
    module, setting = CONNTRACK
    if case.drop.place.module != module:
        setting = PATIENCE[packet.family]
    seconds = read_number(case.host.sysctl, setting)
    came = "their first fragment" if packet.gre else "a later fragment"
    within = f" within {seconds} s" if seconds else ""
    return Finding(
        summary=f"GRE packets from {packet.remote} to {packet.local} come in fragments: of these, "
        f"{came} came, and not all the others{within}.",
        evidence=(
            describe_packet(packet),
            *([describe_tunnel(tunnel)] if tunnel else []),
            f"The fragment that came has {packet.length} bytes.",
            describe_death(case.drop),
            *([] if case.tables else ["The kernel had not kept by which device it came."]),
        ),
        fix=_fixes(case, packet, tunnel),
        path=(case.iif or "?", "reassembly", str(case.drop.place)),
        confidence=Confidence.CERTAIN if _is_sure(case, packet) else Confidence.LIKELY,
        tunnel=tunnel.name if tunnel else None,
    )


def _is_sure(case: Case, packet: Packet) -> bool:
    """Whether nothing else ends there: without a reason, what is no first fragment may have."""
    return packet.gre is not None or case.drop.reason not in UNTOLD


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
            clamp_segments(case.netns, segment, tunnel.name),
        ),
        path,
    )
