# SPDX-License-Identifier: GPL-2.0-only
"""What a tunnel received died at the device by which this host was to pass it on."""

from gretrace.commands import run
from gretrace.model import Confidence, Finding, Fix, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.ends import owner_name
from gretrace.verdicts.registry import cause
from gretrace.verdicts.standing import waits_for_neighbour
from gretrace.verdicts.words import describe_packet

QUEUE_FULL = "NEIGH_QUEUEFULL"


@cause("no-neighbour", "the next hop behind this host does not tell its link-layer address")
def no_neighbour(case: Case) -> Finding | None:
    """What a tunnel received and was to leave by another device waits there, and is freed."""
    packet, device, drop = case.delivered, case.leaving_by, case.drop
    if not packet or not device or not waits_for_neighbour(case):
        return None
    way = case.route(packet.local)
    hop = (way.gateway if way.device == drop.leaving_by else None) or packet.local
    question = "ARP" if hop.version == 4 else "neighbour discovery"
    is_full = drop.reason == QUEUE_FULL
    return Finding(
        summary=f"{hop} does not answer {question} on {device}, so what {case.iif} has received "
        f"for {packet.local} cannot be passed on.",
        evidence=(
            describe_packet(packet),
            f"It came by {case.iif}, and was freed in {drop.place} of {device}.",
        ),
        fix=(
            Fix(
                Where.PATH,
                f"See that {hop} is up and on the link of {device}; FAILED or INCOMPLETE here "
                "means that it is still silent.",
                run(case.netns, "ip", "neigh", "show", hop, "dev", device),
            ),
        ),
        path=(case.iif or "?", "decapsulated", "forward", f"{device}: {drop.place}"),
        confidence=Confidence.LIKELY if is_full else Confidence.CERTAIN,
        tunnel=owner_name(case),
    )
