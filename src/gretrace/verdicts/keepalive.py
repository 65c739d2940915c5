# SPDX-License-Identifier: GPL-2.0-only
"""A keepalive arrived, and what it carries did not go back."""

from gretrace.commands import respond, sysctl
from gretrace.kernel import stack
from gretrace.kernel.kinds import kind_of
from gretrace.kernel.settings import assignments, missing_for_keepalives
from gretrace.model import Ask, Change, Finding, Fix, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.programs import show_filters, take_off_xdp
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_packet


@cause("keepalive-unanswered", "a keepalive arrived, and nothing here answers it")
def keepalive_unanswered(case: Case) -> Finding | None:
    """The packet is what a keepalive carries to be sent back, wherever on the tunnel it died.

    That is one from the tunnel's local to its remote address, with an empty GRE header.
    """
    packet, tunnel, device = case.packet, case.carrier, case.iif
    if not case.is_keepalive or not packet or not tunnel or not device:
        return None
    missing = missing_for_keepalives(case.host.sysctl, device, packet.family)
    state = "All settings for the kernel to send it back by itself are made."
    if missing:
        lacking = ", ".join(assignments(missing))
        state = f"For the kernel to send it back by itself, these are not set: {lacking}."
    return Finding(
        summary=f"The peer {packet.local} sends keepalives to {device}, and nothing here answers "
        "them.",
        evidence=(describe_packet(packet), state, _death(case)),
        fix=(
            *_clear_the_way(case, device),
            *([_by_itself(case, missing)] if missing else []),
            Fix(
                Where.PEER,
                "Or turn the peer's keepalives off.",
                ask=Ask(Change.NO_KEEPALIVES, tunnel.kind),
            ),
        ),
        path=(device, "decapsulated", "keepalive", str(case.drop.place)),
        tunnel=tunnel.name,
    )


@cause("health-check-unanswered", "a provider's probe that carries its own answer did not go back")
def health_check_unanswered(case: Case) -> Finding | None:
    """An echo reply from an address of ours to the peer's arrives: it is to be sent back."""
    packet, tunnel, device = case.packet, case.carrier, case.iif
    if not case.is_health_check or not packet or not tunnel or not device:
        return None
    missing = missing_for_keepalives(case.host.sysctl, device, packet.family)
    fixes = []
    if missing:
        note = "Have the kernel forward them back."
        if packet.family == 4:
            note += " It opens the tunnel to packets with forged sources."
        fixes = [Fix(Where.HERE, note, sysctl(case.netns, missing))]
    return Finding(
        summary=f"The peer sends health checks through {device}, echo replies from {packet.remote} "
        f"to {packet.local} that this host is to return, and nothing here returns them.",
        evidence=(
            describe_packet(packet),
            f"{packet.remote} is this host's own, so an answer to it cannot come from elsewhere.",
            _death(case),
        ),
        fix=(
            *fixes,
            Fix(
                Where.PEER,
                "Or have the provider probe by echo requests, which the kernel answers by itself.",
            ),
        ),
        path=(device, "decapsulated", "health check", str(case.drop.place)),
        tunnel=tunnel.name,
    )


def _clear_the_way(case: Case, device: str) -> tuple[Fix, ...]:
    """Build the fixes that attach a responder, and that let packets come as far as to it."""
    answer = respond(case.netns, device)
    if case.is_at(stack.generic_xdp):
        first = take_off_xdp(case, device)
        note = f"Take the XDP program off {device}, which drops them, and answer them."
        return (Fix(Where.HERE, note, first + answer),)
    if case.is_at(stack.tc_ingress, stack.tc_egress):
        return (
            Fix(
                Where.HERE,
                f"See which tc filter on {device} drops them, and delete it by its pref.",
                show_filters(case, device),
            ),
            Fix(Where.HERE, "Then answer them.", answer),
        )
    return (Fix(Where.HERE, f"Answer the keepalives on {device}.", answer),)


def _by_itself(case: Case, missing: dict[str, int]) -> Fix:
    """Build the fix that has the kernel forward what the keepalive carries, out and back."""
    tunnel, also = case.carrier, ""
    if tunnel and kind_of(tunnel).family == 4:
        also = " It opens the tunnel to packets with forged sources."
    if case.drop.reason == "NETFILTER_DROP":
        also += " The firewall has to let them pass as well."
    return Fix(
        Where.HERE,
        f"Or have the kernel forward them back, without the tunnel's header.{also}",
        sysctl(case.netns, missing),
    )


def _death(case: Case) -> str:
    reason = f" ({case.drop.reason})" if case.drop.reason else ""
    return f"What it carries was freed in {case.drop.place}{reason}."
