# SPDX-License-Identifier: GPL-2.0-only
"""What the causes that are faults of the tunnel lookup have in common."""

from dataclasses import replace

from gretrace.commands import ip_link
from gretrace.kernel.kinds import DEFAULT_LIMIT, ERSPAN, erspan_version, unpacker_of
from gretrace.kernel.lookup import Candidate, Mismatch
from gretrace.kernel.receive import no_tunnel
from gretrace.model import (
    Ask,
    Change,
    Confidence,
    Finding,
    Fix,
    Tunnel,
    Where,
)
from gretrace.verdicts.case import Case
from gretrace.verdicts.near import NearMiss
from gretrace.verdicts.words import (
    add_and_set_up,
    describe_packet,
    describe_traffic,
    describe_tunnel,
)
from gretrace.wire.keys import show_key

OTHERS_SHOWN = 3
# The path of a packet up to the lookup.
LOOKED_UP = (no_tunnel.free(4).place.function, "parse", "lookup")
TIED_SHOWN = 16
WHAT_DIFFERS = {
    Mismatch.DOWN: "state, which is down",
    Mismatch.TYPE: "type",
    Mismatch.KEY: "key",
    Mismatch.LOCAL: "local address",
    Mismatch.REMOTE: "remote address",
}


def near_miss(case: Case, fault: Mismatch) -> NearMiss | None:
    """Return the tunnel that was meant, if this is what kept it from taking the packet."""
    near = case.near_miss
    return near if near and near.fault is fault else None


def missed_lookup(
    case: Case,
    near: NearMiss,
    summary: str,
    here: Fix | None,
    *elsewhere: Fix,
    certain: bool = True,
) -> Finding:
    """Build the finding of a lookup that passed by the tunnel that was meant.

    `here` and each of `elsewhere` mend the fault alone.
    """
    if near.rivals:
        return _tied(case, near)
    tunnel = near.tunnel
    others = [c for c in case.candidates if c.tunnel is not tunnel]
    alone = not any(len(c.mismatches) == 1 for c in others)
    # To set up a tunnel that was heard once takes it from nobody.
    in_use = near.fault is not Mismatch.DOWN and case.is_in_use(tunnel)
    evidence = _observed(case, tunnel)
    fixes = [here] if here else []
    if in_use and here:
        # To change a tunnel that works would break it; there is one missing beside it.
        evidence.append(f"{tunnel.name} has received packets that fit it: it is in use.")
        fixes = [make_tunnel(case, f"Leave {tunnel.name} and make the tunnel that is missing.")]
        if not case.is_heard(tunnel):
            moved = f"Or, if it is its own peer that has changed, for good: {here.note}"
            elsewhere = (*elsewhere, replace(here, note=moved))
    elif near.is_down_too:
        fixes.append(set_up(case, tunnel, f"{tunnel.name} is down as well: set it up."))
    return Finding(
        summary=summary,
        evidence=(*evidence, *_describe_others(others)),
        fix=(*fixes, *elsewhere),
        path=lookup_path(case),
        confidence=Confidence.CERTAIN
        if certain and alone and not in_use and not case.checksum_unverified
        else Confidence.LIKELY,
        tunnel=tunnel.name,
    )


def _tied(case: Case, near: NearMiss) -> Finding:
    """Build the finding of a lookup that passed by several tunnels, each as near as the others."""
    query, tied = case.missed, (near.tunnel, *near.rivals)
    if query is None:
        raise ValueError("no lookup was missed")
    names = _join([tunnel.name for tunnel in tied[:TIED_SHOWN]])
    if len(tied) > TIED_SHOWN:
        names += f", and {len(tied) - TIED_SHOWN} more,"
    if near.fault is Mismatch.DOWN:
        fixes = [Fix(Where.HERE, "Set the one up that is meant, if it should be up.")]
    else:
        fixes = [make_tunnel(case, "If it is none of them, make the one that is missing.")]
    return Finding(
        summary=f"{names} are equally near to the packets from {query.remote} to {query.local} "
        f"with {show_key(query.key)}: all fits each of them but its {WHAT_DIFFERS[near.fault]}.",
        evidence=(
            *([describe_packet(case.packet)] if case.packet else []),
            *(describe_tunnel(tunnel) for tunnel in tied[:TIED_SHOWN]),
            "Nothing in the packet tells which of them was meant.",
        ),
        fix=(
            *fixes,
            Fix(Where.PEER, f"Or make the peer fit the one that is meant, by its {near.fault}."),
        ),
        path=lookup_path(case),
        confidence=Confidence.LIKELY,
    )


def make_tunnel(case: Case, note: str) -> Fix:
    """Build the fix that makes a tunnel just for these packets."""
    query = case.missed
    if query is None:
        raise ValueError("no lookup was missed")
    kind = unpacker_of(query.remote.version, query.protocol)
    if not case.can_be_local(query.local):
        return Fix(
            Where.PEER,
            f"Have the peer send to an address that is this host's alone: {query.local} is not.",
            ask=Ask(Change.DESTINATION, kind.name),
        )
    # erspan_validate() of net/ipv4/ip_gre.c wants numbers, but for type I.
    is_numbered = query.protocol in ERSPAN and query.key is not None
    taken = {tunnel.name for tunnel in case.tables.tunnels} if case.tables else set()
    wanted = Tunnel(
        name=next(name for n in range(1, len(taken) + 2) if (name := f"gre{n}") not in taken),
        ifindex=0,
        netns=case.drop.netns,
        kind=kind.name,
        local=query.local,
        remote=query.remote,
        ikey=query.key,
        okey=query.key,
        iseq=is_numbered,
        oseq=is_numbered,
        ttl=255,
        erspan_version=erspan_version(query.protocol, query.key),
        encap_limit=DEFAULT_LIMIT if kind.family == 6 else None,
    )
    return Fix(
        Where.HERE, f"{note} Then give it addresses and routes.", add_and_set_up(case.netns, wanted)
    )


def set_up(case: Case, tunnel: Tunnel, note: str) -> Fix:
    """Build the fix that sets a tunnel up."""
    return Fix(Where.HERE, note, ip_link(case.netns, "set", tunnel.name, "up"))


def lookup_path(case: Case) -> tuple[str, ...]:
    """Tell the steps of a packet up to the lookup."""
    return (case.iif or "?", *LOOKED_UP)


def _observed(case: Case, tunnel: Tunnel) -> list[str]:
    observed = [describe_packet(case.packet)] if case.packet else []
    observed.append(describe_tunnel(tunnel))
    traffic = describe_traffic(tunnel, case.traffic.get(tunnel.ifindex))
    if traffic:
        observed.append(traffic)
    if case.checksum_unverified:
        observed.append("Whether its checksum is right cannot be told here.")
    return observed


def _join(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _describe_others(others: list[Candidate]) -> list[str]:
    return [
        f"Less near, by its {' and '.join(c.mismatches)}: {describe_tunnel(c.tunnel)}"
        for c in others[:OTHERS_SHOWN]
    ]
