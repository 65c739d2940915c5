# SPDX-License-Identifier: GPL-2.0-only
"""A bridge does not take a frame that a tunnel of its ports delivered (net/bridge/br_input.c)."""

from gretrace.commands import run
from gretrace.kernel.switching import bridge_state, bridge_vlan
from gretrace.model import BridgePort, Confidence, Finding, Fix, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_death, describe_packet

# BR_STATE_* of uapi/linux/if_bridge.h, as `bridge link` calls them.
STATES = {0: "disabled", 1: "listening", 2: "learning", 3: "forwarding", 4: "blocking"}
LEARNING, FORWARDING = 2, 3
RANGES_SHOWN = 8


@cause(
    "bridge-refused",
    "the tunnel is the port of a bridge, whose VLAN filter or port state refuses the frame",
    *(bridge_vlan, bridge_state),
)
def bridge_refused(case: Case) -> Finding | None:
    """The port is read, its VLANs and its state; what STP blocks is by design."""
    device = case.iif
    port = case.host.bridge_port(case.drop.ifindex) if case.drop.on_tunnel else None
    if port is None or not device or case.drop.is_sent:
        return None
    if case.is_at(bridge_state):
        if port.has_stp or port.state in (LEARNING, FORWARDING):
            return None
        return _finding(
            case, device, port, f"the port is {STATES.get(port.state, port.state)}",
            Fix(
                Where.HERE,
                f"Let it forward; {port.bridge} has no STP that would set the state.",
                run(case.netns, "bridge", "link", "set", "dev", device, "state", FORWARDING),
            ),
        )  # fmt: skip
    # Of a VLAN that is let in it was not, but had none; or that VLAN itself is blocked.
    vlan = 0 if port.admits(case.drop.vlan) else case.drop.vlan
    if not port.filters or port.admits(vlan):
        return None
    return _refused_vlan(case, device, port, vlan)


def _refused_vlan(case: Case, device: str, port: BridgePort, vlan: int) -> Finding:
    add = ("bridge", "vlan", "add", "dev", device, "vid")
    if vlan:
        what = f"frames of VLAN {vlan}"
        fix = Fix(Where.HERE, "Let that VLAN in.", run(case.netns, *add, vlan))
    else:
        what = "frames without a VLAN tag"
        untagged = run(case.netns, *add, "VID", "pvid", "untagged")
        fix = Fix(Where.HERE, f"Say which VLAN they are of, which only you know: `{untagged}`.")
    return _finding(
        case,
        device,
        port,
        f"it does not let in {what}",
        fix,
        Fix(Where.PEER, f"Or have the peer send no {what}, or in another VLAN."),
        # Without a PVID, what the kernel had read of the frame outside may be there still.
        confidence=Confidence.LIKELY
        if case.drop.vlan and port.pvid is None
        else Confidence.CERTAIN,
    )


def _finding(
    case: Case,
    device: str,
    port: BridgePort,
    why: str,
    *fix: Fix,
    confidence: Confidence = Confidence.CERTAIN,
) -> Finding:
    return Finding(
        summary=f"{device} is a port of the bridge {port.bridge}, which refuses what comes by it: "
        f"{why}.",
        evidence=(
            *([describe_packet(case.packet)] if case.packet else []),
            f"{device}, as `bridge vlan` and `bridge link` show it: {_shown(port)}.",
            describe_death(case.drop),
        ),
        fix=fix,
        path=(device, "decapsulated", port.bridge, str(case.drop.place)),
        confidence=confidence,
        tunnel=case.carrier.name if case.carrier else None,
    )


def _shown(port: BridgePort) -> str:
    state = f"state {STATES.get(port.state, port.state)}"
    if not port.filters:
        return f"{state}, no filter of VLANs"
    ranges = [str(a) if a == b else f"{a}-{b}" for a, b in port.vlans[:RANGES_SHOWN]]
    more = " and more" if len(port.vlans) > RANGES_SHOWN else ""
    vlans = f"VLAN {', '.join(ranges)}{more}" if ranges else "no VLAN"
    pvid = f"PVID {port.pvid}" if port.pvid else "no PVID"
    return f"{vlans}, {pvid}, {state}"
