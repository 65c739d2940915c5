# SPDX-License-Identifier: GPL-2.0-only
"""Tunnels that cannot send for what they stand on: a link that is down, or this host itself."""

from gretrace.commands import ip_link
from gretrace.kernel import send
from gretrace.model import Device, Finding, Fix, Tunnel, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.standing import standing_on
from gretrace.verdicts.words import describe_packet, describe_tunnel


@cause(
    "tx-link-down",
    "the device that the tunnel sends by is down, or has no carrier",
    *(send.no_route_to_remote, send.silent_neighbour, send.full_queue),
)
def tx_link_down(case: Case) -> Finding | None:
    """The tunnel finds no way while its device is down; without carrier no neighbour answers.

    What has its neighbour's address meets the qdisc noop there, which has no room at all.
    """
    sending, tunnel = case.sending, case.sending.tunnel
    if tunnel is None or case.drop.leaving_by:
        return None
    if sending.is_inside:
        if case.is_at(send.full_queue):
            return None
        device = standing_on(case, tunnel)
        is_down = device and not device.up and sending.way.error is not None
        return _down(case, tunnel, device) if device and is_down else None
    device = case.host.device(case.drop.ifindex)
    is_up = device is not None and device.up
    return (
        _without_carrier(case, tunnel, device) if device and is_up and not device.carrier else None
    )


def _down(case: Case, tunnel: Tunnel, device: Device) -> Finding:
    bound = (
        "to which it is bound"
        if tunnel.link == device.ifindex
        else f"which has its local address {tunnel.local}"
    )
    return Finding(
        summary=f"{tunnel.name} cannot send: {device.name}, {bound}, is down.",
        evidence=_observed(case, tunnel),
        fix=(
            Fix(
                Where.HERE,
                f"Set {device.name} up; routes by it that are not its own have to be made anew.",
                ip_link(case.netns, "set", device.name, "up"),
            ),
        ),
        path=(case.iif or "?", str(case.drop.place), "link"),
        tunnel=tunnel.name,
    )


def _without_carrier(case: Case, tunnel: Tunnel, device: Device) -> Finding:
    return Finding(
        summary=f"{tunnel.name} cannot send: {device.name}, by which it does, has no carrier.",
        evidence=_observed(case, tunnel),
        fix=(
            Fix(
                Where.PATH,
                f"See to the cable, the port or the device at the other end of {device.name}.",
            ),
        ),
        path=(case.iif or "?", str(case.drop.place), "link"),
        tunnel=tunnel.name,
    )


@cause("tx-remote-own", "the tunnel's remote is an address of this host")
def tx_remote_own(case: Case) -> Finding | None:
    """What it sends comes back to this host, which has no tunnel for it, or has this one."""
    tunnel = case.own_remote
    if tunnel is None:
        return None
    return Finding(
        summary=f"The remote of {tunnel.name}, {tunnel.remote}, is an address of this host: what "
        f"{tunnel.name} sends comes back to it.",
        evidence=_observed(case, tunnel),
        fix=(
            Fix(
                Where.HERE,
                f"Set the remote of {tunnel.name} to the peer's address; or take {tunnel.remote} "
                "off this host, if it is the peer's.",
            ),
        ),
        path=(case.iif or "?", "loopback", str(case.drop.place)),
        tunnel=tunnel.name,
    )


def _observed(case: Case, tunnel: Tunnel) -> tuple[str, ...]:
    described = (describe_packet(case.packet),) if case.packet else ()
    return (*described, describe_tunnel(tunnel))
