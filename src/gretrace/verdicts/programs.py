# SPDX-License-Identifier: GPL-2.0-only
"""Programs of the user's on a device: tc filters and XDP."""

from gretrace.commands import Command, ip_link, run
from gretrace.kernel import stack
from gretrace.model import Finding, Fix, Packet, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.ends import inner, outer, owner_name
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_packet


@cause(
    "tc-drop",
    "a tc filter on the tunnel's device or below it drops the packet",
    *(stack.tc_ingress, stack.tc_egress),
)
def tc_drop(case: Case) -> Finding | None:
    """The kernel frees the packet with the reason TC_INGRESS or TC_EGRESS."""
    packet, device = _victim(case), case.leaving_by or case.iif
    if not packet or not device:
        return None
    direction = tc_direction(case)
    delete = run(*(case.netns, "tc", "filter", "del", "dev", device, direction, "pref", "PREF"))
    return Finding(
        summary=f"A tc filter at the {direction} of {device} drops {_what(case, packet)}.",
        evidence=(
            describe_packet(packet),
            f"The kernel freed it in {case.drop.place} ({case.drop.reason}).",
            "That tells that a filter or its action said so, but not which one.",
        ),
        fix=(
            Fix(
                Where.HERE,
                f"See which filter it is, and have it let these packets pass, or delete it: "
                f"`{delete}`.",
                show_filters(case, device),
            ),
        ),
        path=(device, f"tc {direction}", str(case.drop.place)),
        tunnel=owner_name(case),
    )


@cause(
    "xdp-drop",
    "a generic XDP program on the tunnel's device or below it drops the packet",
    stack.generic_xdp,
)
def xdp_drop(case: Case) -> Finding | None:
    """The packet dies in the kernel's generic XDP.

    What a driver's native XDP drops never becomes a packet of the kernel's, and cannot be seen.
    """
    packet, device = _victim(case), case.leaving_by or case.iif
    if not packet or not device:
        return None
    shown = run(case.netns, "ip", "-d", "link", "show", "dev", device)
    return Finding(
        summary=f"The XDP program on {device} drops {_what(case, packet)}.",
        evidence=(
            describe_packet(packet),
            f"The kernel freed it in {case.drop.place}, which runs generic XDP.",
        ),
        fix=(
            Fix(
                Where.HERE,
                f"Take the program off {device}, or have it pass GRE: `{shown}` names it.",
                take_off_xdp(case, device),
            ),
        ),
        path=(device, "XDP", str(case.drop.place)),
        tunnel=owner_name(case),
    )


def tc_direction(case: Case) -> str:
    """At which hook of the device the filter sits."""
    return "egress" if case.is_at(stack.tc_egress) else "ingress"


def show_filters(case: Case, device: str) -> Command:
    """Build the command that shows the tc filters at the hook of the drop."""
    return run(case.netns, "tc", "filter", "show", "dev", device, tc_direction(case))


def take_off_xdp(case: Case, device: str) -> Command:
    """Build the command that removes a generic XDP program."""
    return ip_link(case.netns, "set", device, "xdpgeneric", "off")


def _victim(case: Case) -> Packet | None:
    return outer(case) or inner(case)


def _what(case: Case, packet: Packet) -> str:
    if outer(case):
        return f"the GRE packets from {packet.remote} to {packet.local}"
    return f"packets of the tunnel, {packet.remote} > {packet.local}"
