"""Programs of the user's on a device: tc filters and XDP."""

from gretrace.commands import Command, ip_link, run
from gretrace.model import Drop, Finding, Fix, Packet, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.ends import inner, outer, owner_name
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_packet

_TC_REASONS = {"TC_INGRESS": "ingress", "TC_EGRESS": "egress"}
# Of tc's own hooks, for a kernel that gives no reason.
_TC_FUNCTIONS = {"sch_handle_ingress": "ingress", "sch_handle_egress": "egress"}
_XDP_FUNCTIONS = (
    *("do_xdp_generic", "netif_receive_generic_xdp", "bpf_prog_run_generic_xdp"),
    "netif_rx_internal",  # v5.10
)


@cause("tc-drop", "a tc filter on the tunnel's device or below it drops the packet")
def tc_drop(case: Case) -> Finding | None:
    """The kernel frees the packet with the reason TC_INGRESS or TC_EGRESS."""
    packet, device = _victim(case), case.iif
    if not packet or not device or not is_tc(case.drop):
        return None
    direction = tc_direction(case.drop)
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


@cause("xdp-drop", "a generic XDP program on the tunnel's device or below it drops the packet")
def xdp_drop(case: Case) -> Finding | None:
    """The packet dies in the kernel's generic XDP.

    What a driver's native XDP drops never becomes a packet of the kernel's, and cannot be seen.
    """
    packet, device = _victim(case), case.iif
    if not packet or not device or not is_generic_xdp(case.drop):
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


def is_tc(drop: Drop) -> bool:
    """Whether a tc filter dropped it."""
    return drop.reason in _TC_REASONS or drop.place.function in _TC_FUNCTIONS


def tc_direction(drop: Drop) -> str:
    """At which hook of the device the filter sits."""
    by_function = _TC_FUNCTIONS.get(drop.place.function, "ingress")
    return _TC_REASONS.get(drop.reason or "", by_function)


def is_generic_xdp(drop: Drop) -> bool:
    """Whether a generic XDP program dropped it."""
    return drop.reason == "XDP" or drop.place.function in _XDP_FUNCTIONS


def show_filters(case: Case, device: str) -> Command:
    """Build the command that shows the tc filters at the hook of the drop."""
    return run(case.netns, "tc", "filter", "show", "dev", device, tc_direction(case.drop))


def take_off_xdp(case: Case, device: str) -> Command:
    """Build the command that removes a generic XDP program."""
    return ip_link(case.netns, "set", device, "xdpgeneric", "off")


def _victim(case: Case) -> Packet | None:
    return outer(case) or inner(case)


def _what(case: Case, packet: Packet) -> str:
    if outer(case):
        return f"the GRE packets from {packet.remote} to {packet.local}"
    return f"packets of the tunnel, {packet.remote} > {packet.local}"
