# SPDX-License-Identifier: GPL-2.0-only
"""Programs of the user's on a device: tc filters and XDP."""

from collections.abc import Sequence

from gretrace.commands import Command, ip_link, run
from gretrace.kernel import stack
from gretrace.model import Filter, Finding, Fix, Packet, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.ends import inner, outer, owner_name
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_packet

FILTERS_SHOWN = 4
OUR_PREF = 0x4752  # of `gretrace respond`


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
    suspects = _suspects(case, direction)
    # A program that does not count may have let it pass, and one of tcx dropped it.
    is_counted = len(suspects) == 1 and suspects[0].dropped is not None
    named = f": {suspects[0]}" if is_counted else ""
    return Finding(
        summary=f"A tc filter at the {direction} of {device} drops {_what(case, packet)}{named}.",
        evidence=(
            describe_packet(packet),
            f"The kernel freed it in {case.drop.place} ({case.drop.reason}).",
            _which(suspects),
        ),
        fix=(_let_filters_pass(case, device, direction, suspects),),
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
    program = case.host.generic_xdp(case.drop.leaving_by or case.drop.ifindex)
    named = f" {program}" if program else ""
    what = "have it pass GRE." if program else f"have it pass GRE: `{shown}` names it."
    return Finding(
        summary=f"The XDP program{named} on {device} drops {_what(case, packet)}.",
        evidence=(
            describe_packet(packet),
            f"The kernel freed it in {case.drop.place}, which runs generic XDP.",
        ),
        fix=(
            Fix(
                Where.HERE,
                f"Take the program off {device}, or {what}",
                take_off_xdp(case, device),
            ),
        ),
        path=(device, "XDP", str(case.drop.place)),
        tunnel=owner_name(case),
    )


def _suspects(case: Case, direction: str) -> Sequence[Filter]:
    """Return the filters that can have dropped it; none where they are not known."""
    found = case.host.filters(case.drop.leaving_by or case.drop.ifindex, direction) or ()
    # What counts its drops and has none is none of them, nor is the responder, which drops none.
    return [one for one in found if one.dropped != 0 and one.pref != OUR_PREF]


def _which(suspects: Sequence[Filter]) -> str:
    if not suspects:
        return "That tells that a filter or its action said so, but not which one."
    if len(suspects) == 1:
        dropped = suspects[0].dropped
        if dropped is not None:
            return f"Of the filters there only one has dropped packets, {dropped}: {suspects[0]}."
        return (
            f"Of the filters there only one can drop: {suspects[0]}. What is attached by tcx is "
            "none of them (bpftool net)."
        )
    shown = "; ".join(map(str, suspects[:FILTERS_SHOWN]))
    more = f"; and {len(suspects) - FILTERS_SHOWN} more" if len(suspects) > FILTERS_SHOWN else ""
    return f"It can be any of these filters: {shown}{more}."


def _let_filters_pass(case: Case, device: str, direction: str, suspects: Sequence[Filter]) -> Fix:
    at = ("tc", "filter", "del", "dev", device, direction)
    if len(suspects) == 1:
        (one,) = suspects
        chain = ("chain", one.chain) if one.chain else ()
        return Fix(
            Where.HERE,
            "Have that filter let these packets pass, or delete it.",
            run(
                *(case.netns, *at, *chain, "pref", one.pref),
                *("handle", one.handle_shown, one.kind),
            ),
        )
    delete = run(case.netns, *at, "pref", "PREF")
    return Fix(
        Where.HERE,
        f"See which filter it is, and have it let these packets pass, or delete it: `{delete}`.",
        show_filters(case, device),
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
