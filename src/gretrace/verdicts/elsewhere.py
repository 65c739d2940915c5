# SPDX-License-Identifier: GPL-2.0-only
"""A tunnel that fits, but not here: in another namespace, or the kernel's own device."""

from collections.abc import Sequence
from dataclasses import replace

from gretrace.commands import HERE, Netns, Shell, ip_link, run
from gretrace.kernel import receive
from gretrace.kernel.kinds import kind_of
from gretrace.kernel.lookup import Candidate, Pass
from gretrace.model import Confidence, Finding, Fix, Tunnel, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.choice import lookup_path, make_tunnel
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import add_and_set_up, add_command, describe_packet, describe_tunnel
from gretrace.wire.keys import show_key

# Of many tunnels that are down, those that are named.
DOWN_SHOWN = 4


@cause("wrong-netns", "the tunnel that fits is in another network namespace", receive.no_tunnel)
def wrong_netns(case: Case) -> Finding | None:
    """A tunnel receives in the namespace in which it was made (struct ip_tunnel, net)."""
    query, packet, found = case.missed, case.packet, case.fits_elsewhere
    if not query or not packet or not found:
        return None
    there, match = found
    # A device of another namespace means nothing here.
    tunnel = replace(match.tunnel, link=0, link_name=None)
    is_sure = match.decided_by is Pass.EXACT and not case.checksum_unverified
    confidence = Confidence.CERTAIN if is_sure else Confidence.LIKELY
    where = "here" if there is None else f"in {there}"
    return Finding(
        summary=f"{tunnel.name} fits the packets from {query.remote} to {query.local}, but "
        + (
            "was made in another namespace than this one, and receives only there."
            if there is None
            else f"it is in the namespace {there}, and they arrive in another."
        ),
        evidence=(
            describe_packet(packet),
            f"It is {where}: {describe_tunnel(tunnel)}",
            "A tunnel receives in the namespace in which it was made, wherever it is moved.",
            "No tunnel that was made in this namespace comes near.",
        ),
        fix=_make_anew(case, tunnel) if there is None else _make_here(case, tunnel, there),
        path=lookup_path(case),
        confidence=confidence,
        tunnel=tunnel.name,
    )


def _make_anew(case: Case, tunnel: Tunnel) -> tuple[Fix, ...]:
    return (
        Fix(
            Where.HERE,
            f"Make {tunnel.name} anew in this namespace. Its addresses and routes go with it.",
            ip_link(case.netns, "del", tunnel.name) + add_and_set_up(case.netns, tunnel),
        ),
    )


def _make_here(case: Case, tunnel: Tunnel, there: Netns) -> tuple[Fix, ...]:
    taken = {t.name for t in case.tables.tunnels} if case.tables else set()
    move = Fix(
        Where.HERE,
        f"Make {tunnel.name} where its packets arrive, then move it to {there}, where it goes on "
        "receiving them. Then give it addresses and routes.",
        ip_link(there, "del", tunnel.name)
        + add_command(case.netns, tunnel)
        + ip_link(case.netns, "set", tunnel.name, "netns", there.name or there.path or Shell.PID)
        + ip_link(there, "set", tunnel.name, "up"),
    )
    return (
        *([move] if tunnel.name not in taken else []),
        make_tunnel(case, f"Or make it here, and delete {tunnel.name} in {there}."),
        Fix(
            Where.HERE,
            f"Or move {case.iif or 'the device on which they arrive'}, with its addresses, to "
            f"{there}.",
        ),
    )


@cause("fallback-taken", "no tunnel fits, so the kernel's own device (gre0) swallowed the packet")
def fallback_taken(case: Case) -> Finding | None:
    """It died on the fallback device, or that refused it."""
    tunnel, nearest = _fallback(case), None
    if not tunnel:
        return None
    evidence = [describe_packet(case.packet)] if case.packet else []
    if not case.drop.on_tunnel and case.query and case.tables:
        nearest = next(iter(case.tables.candidates(case.query)), None)
        evidence += _describe_nearest(nearest, case.query.key)
    else:
        evidence.append("What came before the packet, its outer header and its key, is gone.")
    return Finding(
        summary=f"{tunnel.name}, which the kernel has made for what no tunnel takes, is up: it "
        f"swallowed the packet, which died in {case.drop.place}.",
        evidence=(*evidence, describe_tunnel(tunnel)),
        fix=(
            Fix(
                Where.HERE,
                f"Set {tunnel.name} down. If more of these packets come, gretrace then says which "
                "tunnel was meant, and what keeps it from taking them.",
                ip_link(case.netns, "set", tunnel.name, "down"),
            ),
            Fix(
                Where.HERE,
                "Or make a tunnel for this peer; see who it is with tcpdump -ni any proto gre.",
            ),
        ),
        path=(case.iif or tunnel.name, case.drop.place.function),
        tunnel=nearest.tunnel.name if nearest else tunnel.name,
    )


def taken_by_fallback(
    fallback: Tunnel, packets: int, tunnels: Sequence[Tunnel], netns: Netns
) -> Finding:
    """Say that a fallback device took packets that went on from there: no drop to the kernel."""
    down = [
        t
        for t in tunnels
        if not (t.up or t.fallback) and kind_of(t).table == kind_of(fallback).table
    ]
    many = f"{packets} packets" if packets > 1 else "a packet"
    summary = (
        f"{fallback.name}, which the kernel has made for what no tunnel takes, took {many}, and "
        "nothing was dropped"
    )
    if down:
        names = " and ".join(t.name for t in down[:DOWN_SHOWN])
        verb = "is" if len(down) == 1 else "are"
        summary += f": {names} {verb} down."
        ups = [ip_link(netns, "set", t.name, "up") for t in down[:1]] if len(down) == 1 else [None]
        first = Fix(Where.HERE, "Set up what is meant to take them.", ups[0])
    else:
        summary += ": no tunnel fits them."
        first = Fix(
            Where.HERE,
            "See which they are, and what keeps each tunnel from taking them.",
            run(HERE, "gretrace", "lookup", "--follow", *_in(netns)),
        )
    return Finding(
        summary=summary,
        evidence=(
            describe_tunnel(fallback),
            f"It has received {packets} since gretrace watches, beside what is told of above.",
            *(describe_tunnel(t) for t in down[:DOWN_SHOWN]),
        ),
        fix=(
            first,
            Fix(
                Where.HERE,
                f"Set {fallback.name} down, if nobody means it to take what comes; then gretrace "
                "says of each such packet which tunnel was meant.",
                ip_link(netns, "set", fallback.name, "down"),
            ),
        ),
        path=("lookup", fallback.name),
        confidence=Confidence.LIKELY,
        tunnel=down[0].name if len(down) == 1 else None,
    )


def _in(netns: Netns) -> tuple[str, ...]:
    there = netns.name or netns.path
    return ("--netns", there) if there else ()


def _fallback(case: Case) -> Tunnel | None:
    if case.drop.on_tunnel:
        # GRE inside GRE came through, and was looked up on its own.
        is_nested = receive.is_of_outer(case.drop)
        tunnel = None if case.drop.is_sent or is_nested else case.carrier
    else:
        tunnel = case.chosen if case.is_refused else None
    return tunnel if tunnel and tunnel.fallback else None


def _describe_nearest(nearest: Candidate | None, key: int | None) -> list[str]:
    if nearest is None:
        return ["This namespace has no other GRE tunnel."]
    differs = " and ".join(nearest.mismatches)
    words = f"The nearest differs in its {differs} ({show_key(key)} came)"
    return [f"{words}: {describe_tunnel(nearest.tunnel)}"]
