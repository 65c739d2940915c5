# SPDX-License-Identifier: GPL-2.0-only
"""What the tunnels of a namespace would fall over."""

from collections.abc import Iterator

from gretrace.checks.registry import Check, Machine, State, check
from gretrace.commands import ip_link, respond, run
from gretrace.host.namespaces import entered
from gretrace.keepalive import responder
from gretrace.kernel.kinds import kind_of, largest_segment, mtu_that_fits
from gretrace.kernel.settings import assignments, missing_for_keepalives
from gretrace.model import Tunnel


@check("fallback devices")
def fallback_devices(machine: Machine) -> Iterator[Check]:
    """A fallback device that is up swallows what fits no tunnel."""
    for tunnel in _tunnels(machine, fallback=True):
        if tunnel.up:
            found = "is up: packets that fit no tunnel vanish in it"
            remedy = ip_link(machine.table.namespace.reached, "set", tunnel.name, "down")
            yield Check(tunnel.name, State.WARNING, found, remedy)


@check("tunnels")
def tunnel_devices(machine: Machine) -> Iterator[Check]:
    """Each tunnel: is it up, and does its MTU fit the underlay?"""
    for tunnel in _tunnels(machine):
        if not tunnel.up:
            remedy = ip_link(machine.table.namespace.reached, "set", tunnel.name, "up")
            yield Check(tunnel.name, State.WARNING, "is down", remedy)
        yield from _fits(machine, tunnel)


@check("keepalives")
def keepalives(machine: Machine) -> Iterator[Check]:
    """Who would answer a keepalive on each tunnel: a responder, the kernel, or nobody."""
    for tunnel in _tunnels(machine):
        if kind_of(tunnel).is_ethernet or tunnel.external or not tunnel.up:
            continue
        name = f"keepalives on {tunnel.name}"
        with entered(machine.table.namespace):
            ours = responder.read(tunnel.ifindex)
        if ours:
            yield Check(name, State.OK, f"answered by gretrace on {ours.hook}")
            continue
        family = kind_of(tunnel).family
        missing = missing_for_keepalives(machine.host.sysctl, tunnel.name, family)
        if not missing:
            yield Check(name, State.OK, "answered by the kernel itself")
        else:
            found = f"not answered; the kernel itself would need {', '.join(assignments(missing))}"
            remedy = respond(machine.table.namespace.reached, tunnel.name)
            yield Check(name, State.WARNING, found, remedy)


def _fits(machine: Machine, tunnel: Tunnel) -> Iterator[Check]:
    if tunnel.remote is None or not tunnel.mtu:
        return
    underlay = machine.host.route(tunnel.remote).mtu
    if underlay is None:
        found = f"there is no route to its remote {tunnel.remote}"
        route = run(machine.table.namespace.reached, "ip", "route", "get", tunnel.remote)
        yield Check(tunnel.name, State.WARNING, found, route)
        return
    fits = mtu_that_fits(underlay, tunnel)
    if tunnel.mtu > fits:
        found = f"its MTU {tunnel.mtu} is too large for the underlay's {underlay}: "
        found += f"{fits} fits, which is a TCP MSS of {largest_segment(fits, 4)}"
        remedy = ip_link(machine.table.namespace.reached, "set", tunnel.name, "mtu", fits)
        yield Check(tunnel.name, State.WARNING, found, remedy)
    elif tunnel.up:
        found = f"MTU {tunnel.mtu}; TCP MSS {largest_segment(tunnel.mtu, 4)}"
        yield Check(tunnel.name, State.OK, found)


def _tunnels(machine: Machine, *, fallback: bool = False) -> Iterator[Tunnel]:
    return (t for t in machine.table.tables.tunnels if t.fallback is fallback)
