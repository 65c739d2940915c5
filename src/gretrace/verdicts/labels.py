# SPDX-License-Identifier: GPL-2.0-only
"""A tunnel delivered MPLS, which the kernel does not switch (mpls_forward() of af_mpls.c)."""

from gretrace.commands import HERE, Command, run, sysctl
from gretrace.kernel import stack
from gretrace.kernel.kinds import kind_of
from gretrace.kernel.settings import LABELS, mpls_input, read_number
from gretrace.kernel.switching import mpls_refused
from gretrace.model import MPLS, Finding, Fix, Label, Tunnel, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_death, describe_tunnel

MODULE = "mpls_router"
# Those below mean something of their own (RFC 3032, section 2.1); for two of them the kernel has
# routes as soon as there can be any: explicit null of IPv4 and of IPv6.
FIRST_LABEL, NULLS = 16, (0, 2)
ROOM = 1024  # labels, where nobody has said how many there are to be


@cause(
    "mpls",
    "the tunnel carries MPLS, which is off on its device, or has no route for the label",
    *(mpls_refused, stack.no_protocol),
)
def mpls(case: Case) -> Finding | None:
    """The module, the setting of the device and the route of the label are looked at in turn."""
    # What has more labels comes back by lo, where the first of them is taken off.
    tunnel, device, label = case.carrier, case.leaving_by or case.iif, case.drop.label
    if tunnel is None or device is None or label is None or case.drop.is_sent:
        return None
    # Switches flood frames of MPLS to whoever is there.
    if tunnel.fallback or kind_of(tunnel).is_ethernet or case.drop.protocol not in MPLS:
        return None
    if case.is_at(stack.no_protocol):
        why = f"the module {MODULE}, which takes it, is not loaded"
        return _finding(case, tunnel, label, why, _load(case, device, label))
    name = mpls_input(device)
    enabled = read_number(case.host.sysctl, name)
    if enabled is None:
        return None
    if not enabled:
        fix = Fix(Where.HERE, f"Let MPLS in on {device}.", sysctl(case.netns, {name: 1}))
        return _finding(case, tunnel, label, f"MPLS is off on {device}: {name} is 0", fix)
    if not _has_no_route(case, label):
        return None
    why = "there is no route for that label"
    return _finding(case, tunnel, label, why, _route(case, label))


def _has_no_route(case: Case, label: Label) -> bool:
    limit = read_number(case.host.sysctl, LABELS)
    if limit is not None and label.value >= limit:
        return True
    # Of the others the kernel does not tell.
    return label.value >= FIRST_LABEL and case.host.has_label(label.value) is False


def _load(case: Case, device: str, label: Label) -> Fix:
    state = case.host.module_state(MODULE)
    if state in ("loaded", "built in"):
        return Fix(Where.HERE, "It has been loaded since: nothing is left to do for that.")
    if state is None:
        return Fix(
            Where.HERE,
            "Install the kernel's package of extra modules, or boot a kernel with "
            "CONFIG_MPLS_ROUTING.",
        )
    load = run(HERE, "modprobe", MODULE) + sysctl(case.netns, {mpls_input(device): 1})
    after = _popped(case, label)
    note = f"Load it, and let MPLS in on {device}. To have it after a reboot, name it in "
    note += f"/etc/modules-load.d/{MODULE}.conf."
    return Fix(Where.HERE, f"{note} {_explain(case, label)}", load + after if after else load)


def _route(case: Case, label: Label) -> Fix:
    return Fix(Where.HERE, _explain(case, label), _popped(case, label))


def _explain(case: Case, label: Label) -> str:
    if label.value in NULLS:
        return f"The kernel has routes for the label {label.value} once there is room for labels."
    if label.value < FIRST_LABEL:
        return "Linux has no route for it: labels below 16 mean something of their own."
    switch = ("route", "add", label.value, "as", "LABEL", "via", "inet", "ROUTER")
    on = run(case.netns, "ip", "-f", "mpls", *switch)
    if not label.is_last:
        return f"Say where it goes; only you know that: `{on}`, and more labels follow it."
    return (
        "If its path ends here, take the label off, and what it carries is routed; if it goes on, "
        f"say where: `{on}`."
    )


def _popped(case: Case, label: Label) -> Command | None:
    """Build the command by which the label is known, and its path ends here."""
    limit = read_number(case.host.sysctl, LABELS) or 0
    is_null = label.value in NULLS
    if not is_null and (label.value < FIRST_LABEL or not label.is_last):
        return None
    room = sysctl(case.netns, {LABELS: max(ROOM, label.value + 1)})
    if is_null:
        return room
    pop = run(case.netns, "ip", "-f", "mpls", "route", "add", label.value, "dev", "lo")
    return room + pop if label.value >= limit else pop


def _finding(case: Case, tunnel: Tunnel, label: Label, why: str, fix: Fix) -> Finding:
    more = "the last of its stack" if label.is_last else "with more labels behind it"
    return Finding(
        summary=f"{tunnel.name} has received MPLS with label {label.value} from "
        f"{tunnel.remote or 'its peer'}, and {why}.",
        evidence=(
            f"Packet: MPLS, label {label.value}, {more}.",
            describe_tunnel(tunnel),
            describe_death(case.drop),
        ),
        fix=(fix,),
        path=(tunnel.name, "decapsulated", "MPLS", str(case.drop.place)),
        tunnel=tunnel.name,
    )
