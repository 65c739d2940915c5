# SPDX-License-Identifier: GPL-2.0-only
"""What the causes that are faults of the tunnel lookup have in common."""

from gretrace.commands import ip_link
from gretrace.kernel.kinds import DEFAULT_LIMIT, ERSPAN, erspan_version, unpacker_of
from gretrace.kernel.lookup import Candidate, Mismatch
from gretrace.kernel.receive import no_tunnel
from gretrace.model import (
    Confidence,
    Finding,
    Fix,
    Tunnel,
    Where,
)
from gretrace.verdicts.case import Case, NearMiss
from gretrace.verdicts.words import (
    add_and_set_up,
    describe_packet,
    describe_traffic,
    describe_tunnel,
)

OTHERS_SHOWN = 3
# The path of a packet up to the lookup.
LOOKED_UP = (no_tunnel.free(4).place.function, "parse", "lookup")


def near_miss(case: Case, fault: Mismatch) -> NearMiss | None:
    """Return the tunnel that was meant, if this is what kept it from taking the packet."""
    near = case.near_miss
    return near if near and near.fault is fault else None


def missed_lookup(
    case: Case,
    near: NearMiss,
    summary: str,
    here: Fix,
    *elsewhere: Fix,
    certain: bool = True,
) -> Finding:
    """Build the finding of a lookup that passed by the tunnel that was meant.

    `here` and each of `elsewhere` mend the fault alone.
    """
    tunnel = near.tunnel
    others = [c for c in case.candidates if c.tunnel is not tunnel]
    alone = not any(len(c.mismatches) == 1 for c in others)
    in_use = case.is_in_use(tunnel)
    evidence = _observed(case, tunnel)
    fixes = [here]
    if in_use:
        # To change a tunnel that works would break it; there is one missing beside it.
        evidence.append(f"{tunnel.name} receives other packets all the same: it is in use.")
        fixes = [make_tunnel(case, f"Leave {tunnel.name} and make the tunnel that is missing.")]
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


def make_tunnel(case: Case, note: str) -> Fix:
    """Build the fix that makes a tunnel just for these packets."""
    query = case.missed
    if query is None:
        raise ValueError("no lookup was missed")
    kind = unpacker_of(query.remote.version, query.protocol)
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
        observed.append("The packet is too long for its checksum to be verified here.")
    return observed


def _describe_others(others: list[Candidate]) -> list[str]:
    return [
        f"Less near, by its {' and '.join(c.mismatches)}: {describe_tunnel(c.tunnel)}"
        for c in others[:OTHERS_SHOWN]
    ]
