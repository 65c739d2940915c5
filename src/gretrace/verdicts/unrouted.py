# SPDX-License-Identifier: GPL-2.0-only
"""A tunnel whose remote this host has no route to, for any of many reasons."""

import errno

from gretrace.commands import run
from gretrace.kernel import send
from gretrace.kernel.outgoing import STRANGE_LOCAL
from gretrace.model import (
    Address,
    Device,
    Finding,
    Fix,
    Metadata,
    RefusingRule,
    Route,
    Tunnel,
    Where,
)
from gretrace.verdicts.case import Case
from gretrace.verdicts.metadata import SENT_BY_METADATA, lost_by_metadata
from gretrace.verdicts.registry import cause
from gretrace.verdicts.sending import observed, path, reroute
from gretrace.verdicts.standing import standing_on
from gretrace.verdicts.words import change_command, host_prefix

# How the kernel refuses the route (fib_props of net/ipv4/fib_semantics.c, and ip6_null_entry).
REFUSALS = {
    errno.ENETUNREACH: "this host has no route to {0}",
    errno.EHOSTUNREACH: 'the route to {0} says "unreachable"',
    errno.EACCES: 'the route to {0} says "prohibit"',
    errno.EINVAL: 'the route to {0} is a "blackhole"',
}


@cause(
    "tx-no-route",
    "the host has no route to the tunnel's remote, or not from its local address",
    *(send.silent_neighbour, *SENT_BY_METADATA),
)
def tx_no_route(case: Case) -> Finding | None:
    """ip_tunnel_xmit() counts tx_carrier_errors; ip6_tnl_xmit_ctl() wants an own address."""
    sending = case.sending
    tunnel, remote, error = sending.tunnel, sending.remote, sending.way.error
    if tunnel and tunnel.external and remote is None:
        return lost_by_metadata(case, tunnel)
    if tunnel is None or remote is None or error is None or not sending.is_inside:
        return None
    if not case.is_at(send.no_route_to_remote, send.silent_neighbour):
        return None
    device = standing_on(case, tunnel)
    if device and not device.up and case.is_at(send.no_route_to_remote):
        return None
    if device and device.vrf and not tunnel.link:
        return _in_vrf(case, tunnel, remote, device)
    if sending.way is STRANGE_LOCAL:
        return _strange_local(case, tunnel, sending.metadata)
    refuses = error in REFUSALS and error != errno.ENETUNREACH
    rule = case.host.refusing_rule(remote, tunnel.local) if refuses else None
    if rule:
        return _by_rule(case, tunnel, remote, rule)
    refusal = REFUSALS.get(error, "the kernel refuses a route to {0}").format(remote)
    by = f" by {tunnel.link_name}, to which it is bound" if tunnel.link_name else ""
    where = f"{sending.hop}, which lives at {remote}" if sending.hop else "its remote"
    return Finding(
        summary=f"{tunnel.name} cannot send to {where}: {refusal}{by}.",
        evidence=observed(case, tunnel),
        fix=(reroute(case, remote, f"Route {remote} by the underlay."),),
        path=path(case, "route"),
        tunnel=tunnel.name,
    )


def _strange_local(case: Case, tunnel: Tunnel, told: Metadata | None) -> Finding:
    local, remote = (told.local, told.remote) if told else (tunnel.local, tunnel.remote)
    whose = "its route's source" if told else "its local address"
    way = case.host.route(remote, None, tunnel.link or None) if remote else Route()
    fixes = []
    if way.source and not told:
        fixes.append(
            Fix(
                Where.HERE,
                f"Send from {way.source}, by which this host reaches {remote}; the peer's "
                "remote must be the same.",
                change_command(case.netns, tunnel, local=way.source),
            )
        )
    back = None
    if local and way.name:
        back = run(case.netns, "ip", "addr", "add", host_prefix(local), "dev", way.name)
    fixes.append(Fix(Where.HERE, f"Give this host the address {local}, if it is to be.", back))
    return Finding(
        summary=f"{tunnel.name} cannot send: {whose} {local} is none of this host.",
        evidence=observed(case, tunnel),
        fix=tuple(fixes),
        path=path(case, "route"),
        tunnel=tunnel.name,
    )


def _in_vrf(case: Case, tunnel: Tunnel, remote: Address, device: Device) -> Finding:
    return Finding(
        summary=f"{tunnel.name} cannot send: its underlay is in the VRF {device.vrf}, with "
        f"{device.name}, and {tunnel.name} looks for {remote} outside of it.",
        evidence=(
            *observed(case, tunnel),
            f"{tunnel.local} is an address of {device.name}, which is of {device.vrf}.",
        ),
        fix=(
            Fix(
                Where.HERE,
                f"Bind {tunnel.name} to the VRF; what it carries stays where it is.",
                change_command(case.netns, tunnel, link_name=device.vrf),
            ),
        ),
        path=path(case, "route"),
        tunnel=tunnel.name,
    )


def _by_rule(case: Case, tunnel: Tunnel, remote: Address, rule: RefusingRule) -> Finding:
    if rule.table is None:
        words = f'rule {rule.priority} says "{rule.kind}" to what goes to {remote}'
        before = ("to", host_prefix(remote), "lookup", "main", "priority", rule.priority - 1)
        fix = Fix(
            Where.HERE,
            f"Have {remote} routed by the main table before that rule, if it may be.",
            run(case.netns, "ip", "rule", "add", *before) if rule.priority > 1 else None,
        )
    else:
        words = (
            f"rule {rule.priority} has what goes to {remote} looked up in table {rule.table}, "
            f'whose route says "{rule.kind}"'
        )
        note = f"Route {remote} by the underlay in that table."
        fix = reroute(case, remote, note, rule.table)
    show = run(case.netns, "ip", "rule", "show")
    return Finding(
        summary=f"{tunnel.name} cannot send to its remote: {words}.",
        evidence=(*observed(case, tunnel), f"The rules are those of `{show}`."),
        fix=(fix,),
        path=path(case, "route"),
        tunnel=tunnel.name,
    )
