# SPDX-License-Identifier: GPL-2.0-only
"""What ends a GRE packet before a tunnel is looked up: its header, or no module for it.

gre_rcv() of net/ipv4/gre_demux.c takes GRE over IPv4 and hands it to gre_rcv() of
net/ipv4/ip_gre.c; gre_rcv() of net/ipv6/ip6_gre.c takes it over IPv6. Each of them frees what
is no sound GRE without a reason, so the header decides.
"""

from gretrace.commands import HERE, run
from gretrace.kernel import receive
from gretrace.kernel.kinds import GRE_BASE, MODULES, unpacker_of
from gretrace.kernel.receive import DEMUX_MINIMUM, VERSION_BITS
from gretrace.kernel.stack import no_module
from gretrace.model import Ask, Change, Confidence, Finding, Fix, GreHeader, Packet, Tunnel, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_packet, describe_tunnel, show_protocol

PPTP = 1  # the version of RFC 2637
# What pptp(4) and its conntrack helper are called.
PPTP_MODULE, PPTP_HELPER = "pptp", "nf_conntrack_pptp"


@cause(
    "no-gre-module",
    "nothing in this kernel takes GRE: its module is not loaded",
    *(no_module, receive.no_receiver),
)
def no_gre_module(case: Case) -> Finding | None:
    """Protocol 47 has no handler, or none for version 0."""
    packet = case.packet
    # A kernel that has all of GRE built in names no module.
    if not packet or (case.is_at(receive.no_receiver) and not case.drop.place.module):
        return None
    module = MODULES[packet.family]
    state = case.host.module_state(module)
    if state in ("loaded", "built in"):
        first = Fix(Where.HERE, "It has been loaded since: nothing is left to do.")
    elif state == "loadable":
        first = Fix(
            Where.HERE,
            f"Load it; to make a tunnel does so too. To have it after a reboot, name it in "
            f"/etc/modules-load.d/{module}.conf.",
            run(HERE, "modprobe", module),
        )
    else:
        option = "CONFIG_NET_IPGRE" if packet.family == 4 else "CONFIG_IPV6_GRE"
        first = Fix(
            Where.HERE,
            f"Install the kernel's package of extra modules, or boot a kernel with {option}.",
        )
    return Finding(
        summary=f"GRE packets from {packet.remote} arrive, but the module {module}, which takes "
        f"GRE over IPv{packet.family}, is not loaded.",
        evidence=(describe_packet(packet), f"The kernel freed it in {case.drop.place}."),
        fix=(first,),
        path=(case.iif or "?", case.drop.place.function),
    )


@cause(
    "malformed-gre",
    "the GRE header is cut short, or has fields that Linux refuses",
    *(receive.too_short, receive.other_version, receive.no_header),
    *(receive.refused_flags, receive.cut_header, receive.cut_own_header),
)
def malformed_gre(case: Case) -> Finding | None:
    """Too short for the demultiplexer, source routing of RFC 1701, reserved bits."""
    packet = case.packet
    if not packet:
        return None
    if _is_short(packet) and packet.gre and _is_bare_answer(packet, packet.gre):
        return _bare_answer(case, packet)
    fault = _malformation(case, packet)
    if not fault:
        return None
    return Finding(
        summary=f"A packet from {packet.remote} to {packet.local} is no GRE that Linux takes: "
        f"{fault}.",
        evidence=(describe_packet(packet), *_flags_seen(packet)),
        fix=(
            Fix(
                Where.PEER,
                "Have the peer send plain GRE (RFC 2784, RFC 2890); if it does, something on the "
                "way has damaged the packet.",
            ),
        ),
        path=(case.iif or "?", case.drop.place.function),
    )


def _malformation(case: Case, packet: Packet) -> str | None:
    gre = packet.gre
    if _is_short(packet):
        return (
            f"it has {packet.gre_length} bytes from the GRE header on, and less than "
            f"{_minimum(packet)} are dropped unseen"
        )
    if gre is None or gre.version:
        return None
    if gre.flags & VERSION_BITS[packet.family]:
        return f"reserved bits of its header are set (flags {gre.flags:#06x})"
    if gre.has_routing:
        return "it asks for source routing (the R bit of RFC 1701)"
    if not gre.complete:
        return f"its flags {gre.flags:#06x} announce fields that lie beyond its end"
    if case.is_at(receive.cut_own_header):
        return f"it ends before the header that its protocol {show_protocol(gre.protocol)} has"
    return None


def _bare_answer(case: Case, packet: Packet) -> Finding:
    return Finding(
        summary=f"{packet.remote} answered a keepalive of this host in the bare form, "
        f"{packet.gre_length} bytes of GRE with protocol 0, which Linux drops unseen.",
        evidence=(
            describe_packet(packet),
            f"Linux drops GRE of less than {DEMUX_MINIMUM} bytes before it looks for a tunnel.",
        ),
        fix=(
            Fix(
                Where.HERE,
                "Nothing needs mending: what sent the keepalives reads the answer from a socket "
                "of its own, or nobody waits for it. It can be ignored.",
            ),
        ),
        path=(case.iif or "?", case.drop.place.function),
    )


@cause(
    "unsupported-version",
    "the packet is of another version of GRE than 0, as PPTP's is",
    *(receive.other_version, receive.refused_flags),
)
def unsupported_version(case: Case) -> Finding | None:
    """Version 1 without the module pptp, or a version that no RFC has."""
    packet = case.packet
    if not packet or not packet.gre:
        return None
    version = packet.gre.version
    # What is too short is dropped before its version is looked at (gre_rcv() of gre_demux.c).
    if not version or _is_short(packet):
        return None
    meaning = "that is PPTP (RFC 2637)" if version == PPTP else "no RFC has it"
    return Finding(
        summary=f"A packet from {packet.remote} to {packet.local} is GRE of version {version}; "
        f"{meaning}.",
        evidence=(describe_packet(packet), *_flags_seen(packet)),
        fix=_pptp_fixes(case) if version == PPTP else (_send_version_0(packet),),
        path=(case.iif or "?", case.drop.place.function),
    )


def _pptp_fixes(case: Case) -> tuple[Fix, ...]:
    by_state = {
        "loadable": Fix(
            Where.HERE,
            "If a PPTP client or server is to run here, load it.",
            run(HERE, "modprobe", PPTP_MODULE),
        ),
        None: Fix(
            Where.HERE,
            "This kernel has no PPTP (CONFIG_PPTP); a PPTP program that reads GRE from a raw "
            "socket works all the same.",
        ),
    }
    here = by_state.get(case.host.module_state(PPTP_MODULE))
    forward = Fix(
        Where.HERE,
        "If PPTP is only to be forwarded, through NAT, load its conntrack helper, and assign it "
        "to TCP port 1723 in the ruleset.",
        run(HERE, "modprobe", PPTP_HELPER),
    )
    peer = Fix(Where.PEER, "If no PPTP is wanted, have the peer send GRE of version 0.")
    return (*([here] if here else []), forward, peer)


def _send_version_0(packet: Packet) -> Fix:
    return Fix(
        Where.PEER,
        f"Find what sends this at {packet.remote}; if its GRE is of version 0, something on the "
        "way has damaged the packet.",
    )


@cause(
    "bad-checksum",
    "the checksum in the GRE header is wrong: the packet was damaged",
    receive.wrong_checksum,
)
def bad_checksum(case: Case) -> Finding | None:
    """The checksum was computed anew; or too little was kept to, but a tunnel would take it."""
    packet = case.packet
    if not packet or not packet.gre:
        return None
    if packet.gre.checksum_valid is False:
        return _wrong_checksum(case, packet, None)
    tunnel = case.chosen
    return _wrong_checksum(case, packet, tunnel) if tunnel and not tunnel.fallback else None


def _wrong_checksum(case: Case, packet: Packet, tunnel: Tunnel | None) -> Finding:
    evidence = [describe_packet(packet)]
    protocol = packet.gre.protocol if packet.gre else 0
    if tunnel:
        evidence += [
            describe_tunnel(tunnel),
            "The packet is too long for its checksum to be verified here.",
            f"All else in its header is right, and {tunnel.name} would take it.",
        ]
    else:
        evidence.append("Computed over the whole packet, the checksum does not come out.")
    here = case.iif and Fix(
        Where.HERE,
        f"If only {case.iif} sees it wrong, do not let the card verify checksums.",
        run(case.netns, "ethtool", "-K", case.iif, "rx", "off"),
    )
    return Finding(
        summary=f"The GRE checksum of packets from {packet.remote} to {packet.local} is wrong: "
        "they were damaged, or never had the right one.",
        evidence=tuple(evidence),
        fix=(
            Fix(
                Where.PATH,
                "Look for what changes packets on the way: a link with errors, or NAT that "
                "rewrites what the tunnel carries and not the GRE checksum.",
            ),
            Fix(
                Where.PEER,
                "Or send none: take csum (ocsum) off the peer's tunnel, and off ours, where "
                "it has icsum.",
                ask=Ask(Change.NO_CHECKSUM, unpacker_of(packet.family, protocol).name),
            ),
            *([here] if here else []),
        ),
        path=(case.iif or "?", case.drop.place.function, "parse"),
        confidence=Confidence.LIKELY if tunnel else Confidence.CERTAIN,
        tunnel=tunnel.name if tunnel else None,
    )


@cause(
    "multicast-loop",
    "a multicast packet of our own came back, for a group that we joined",
    receive.multicast_loop,
)
def multicast_loop(case: Case) -> Finding | None:
    """ip_mc_output() loops it back, and gre_rcv() of ip_gre drops it."""
    packet = case.packet
    if not packet or not case.route(packet.remote).is_own:
        return None
    tunnels = case.tables.tunnels if case.tables else ()
    member = next((t for t in tunnels if t.remote == packet.local and t.up), None)
    return Finding(
        summary=f"This host's own packets to the group {packet.local} came back to it, since it "
        "has joined the group itself; it drops them, and the group gets them all the same.",
        evidence=(
            describe_packet(packet),
            f"{packet.remote} is an address of this host.",
            *([describe_tunnel(member)] if member else []),
        ),
        fix=(
            Fix(
                Where.HERE,
                "It does no harm and can be ignored. It ends when the program that sends GRE to "
                "the group by itself turns the loop off (setsockopt IP_MULTICAST_LOOP 0).",
            ),
        ),
        path=(case.iif or "?", "multicast loop", case.drop.place.function),
        tunnel=member.name if member else None,
    )


def _minimum(packet: Packet) -> int:
    return DEMUX_MINIMUM if packet.family == 4 else GRE_BASE


def _is_short(packet: Packet) -> bool:
    return packet.gre_length < _minimum(packet)


def _is_bare_answer(packet: Packet, gre: GreHeader) -> bool:
    return gre.protocol == 0 and gre.complete and not gre.version and not packet.payload


def _flags_seen(packet: Packet) -> tuple[str, ...]:
    gre = packet.gre
    if gre is None:
        return ()
    return (f"GRE flags and version {gre.flags:#06x}, {packet.gre_length} bytes from there on.",)
