"""A keepalive arrived, and what it carries did not go back."""

from gretrace.commands import respond, sysctl
from gretrace.kernel.kinds import kind_of
from gretrace.model import Finding, Fix, Packet, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.forwarding import FORWARD
from gretrace.verdicts.programs import is_generic_xdp, is_tc, show_filters, take_off_xdp
from gretrace.verdicts.registry import cause
from gretrace.verdicts.settings import (
    accepts_own,
    read_number,
    setting_name,
    without_reverse_path,
)
from gretrace.verdicts.words import describe_packet


@cause("keepalive-unanswered", "a keepalive arrived, and nothing here answers it")
def keepalive_unanswered(case: Case) -> Finding | None:
    """The packet is what a keepalive carries to be sent back, wherever on the tunnel it died.

    That is one from the tunnel's local to its remote address, with an empty GRE header.
    """
    packet, tunnel, device = case.packet, case.carrier, case.iif
    if not case.is_keepalive or not packet or not tunnel or not device:
        return None
    missing = _missing(case, packet, device)
    state = "All settings for the kernel to send it back by itself are made."
    if missing:
        lacking = ", ".join(f"{name}={value}" for name, value in missing.items())
        state = f"For the kernel to send it back by itself, these are not set: {lacking}."
    return Finding(
        summary=f"The peer {packet.local} sends keepalives to {device}, and nothing here answers "
        "them.",
        evidence=(describe_packet(packet), state, _death(case)),
        fix=(
            *_clear_the_way(case, device),
            *([_by_itself(case, missing)] if missing else []),
            Fix(Where.PEER, "Or turn the peer's keepalives off."),
        ),
        path=(device, "decapsulated", "keepalive", str(case.drop.place)),
        tunnel=tunnel.name,
    )


def _clear_the_way(case: Case, device: str) -> tuple[Fix, ...]:
    """Build the fixes that attach a responder, and that let packets come as far as to it."""
    answer = respond(case.netns, device)
    if is_generic_xdp(case.drop):
        first = take_off_xdp(case, device)
        note = f"Take the XDP program off {device}, which drops them, and answer them."
        return (Fix(Where.HERE, note, first + answer),)
    if is_tc(case.drop):
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


def _missing(case: Case, packet: Packet, device: str) -> dict[str, int]:
    """Return the settings that would have the kernel do it, and that are not made."""
    forward = FORWARD[packet.family]
    missing = {} if read_number(case, forward) else {forward: 1}
    if packet.family == 6:
        disabled = setting_name(device, "disable_ipv6", 6)
        return missing | ({disabled: 0} if read_number(case, disabled) else {})
    if not accepts_own(case, device):
        missing[setting_name(device, "accept_local")] = 1
    return missing | without_reverse_path(case, device)


def _death(case: Case) -> str:
    reason = f" ({case.drop.reason})" if case.drop.reason else ""
    return f"What it carries was freed in {case.drop.place}{reason}."
