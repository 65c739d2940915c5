"""What the causes that are faults of the tunnel lookup have in common."""

from gretrace.lookup import Candidate, Mismatch
from gretrace.model import Confidence, Finding, Fix, Tunnel, Where
from gretrace.verdicts.case import Case, NearMiss
from gretrace.verdicts.words import describe_packet, describe_traffic, describe_tunnel

OTHERS_SHOWN = 3


def near_miss(case: Case, fault: Mismatch) -> NearMiss | None:
    """Return the tunnel that was meant, if this is what kept it from taking the packet."""
    near = case.near_miss
    return near if near and near.fault is fault else None


def missed_lookup(
    case: Case,
    near: NearMiss,
    summary: str,
    fix: tuple[Fix, ...],
    *extra_evidence: str,
    certain: bool = True,
) -> Finding:
    """Build the finding of a lookup that passed by the tunnel that was meant."""
    others = [c for c in case.candidates if c.tunnel != near.tunnel]
    alone = not any(len(c.mismatches) == 1 for c in others)
    if near.is_down_too:
        fix = (*fix, set_up(case, near.tunnel, "It is down as well."))
    return Finding(
        summary=summary,
        evidence=(
            *_observed(case, near.tunnel),
            *extra_evidence,
            *_describe_others(others),
        ),
        fix=fix,
        path=lookup_path(case),
        confidence=Confidence.CERTAIN
        if certain and alone and not case.checksum_unverified
        else Confidence.LIKELY,
        tunnel=near.tunnel.name,
    )


def set_up(case: Case, tunnel: Tunnel, note: str) -> Fix:
    """Build the fix that sets a tunnel up."""
    return Fix(Where.HERE, note, f"{case.ip} link set {tunnel.name} up")


def lookup_path(case: Case) -> tuple[str, ...]:
    """Tell the steps of a packet up to the lookup."""
    return (case.iif or "?", "gre_rcv", "parse", "lookup")


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
