# SPDX-License-Identifier: GPL-2.0-only
"""The packet is not for this host, which cannot pass it on (ip_forward(), ip6_forward())."""

import errno

from gretrace.commands import HERE, ip_link, run, sysctl
from gretrace.kernel import stack
from gretrace.kernel.kinds import ETHERNET_MTU, largest_segment
from gretrace.kernel.settings import FORWARD, forwards, setting_name
from gretrace.model import Address, Ask, Change, Confidence, Finding, Fix, Packet, Route, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.clamping import describe_clamps
from gretrace.verdicts.destination import martian_kind
from gretrace.verdicts.ends import owner_name
from gretrace.verdicts.registry import cause
from gretrace.verdicts.standing import in_vrf
from gretrace.verdicts.words import clamp_segments, describe_packet, host_prefix

TCP = 6
_REFUSALS = {
    errno.EHOSTUNREACH: "unreachable",
    errno.EACCES: "prohibit",
    errno.EINVAL: "blackhole",
}


@cause(
    "forwarding-off",
    "the packet is for another host, and this one does not forward",
    stack.no_forwarding,
)
def forwarding_off(case: Case) -> Finding | None:
    """A decapsulated packet for another host dies in ip_error() or ip6_forward().

    Its reason is IP_INADDRERRORS, and forwarding is off.
    """
    packet, device = case.delivered, case.iif
    if not packet or not device or martian_kind(packet.local):
        return None
    forwarding = forwards(case.host.sysctl, device, packet.family)
    # Where it is not known, only IPv4's function gives its reason to nothing else.
    if forwarding or (forwarding is None and packet.family == 6):
        return None
    destination, family = packet.local, packet.family
    route = case.route(destination)
    leads_on = route.device not in (None, case.drop.ifindex)
    forward = Fix(
        Where.HERE,
        "Forward packets; this makes the host a router between all its devices.",
        sysctl(case.netns, {FORWARD[family]: 1}),
    )
    mine = _own_it(case, destination, device)
    off = setting_name("all" if family == 6 else device, "forwarding", family)
    return Finding(
        summary=f"{device} has received packets for {destination}, which is no address of this "
        "host, and forwarding is off.",
        evidence=(
            describe_packet(packet),
            f"{off} is {case.host.sysctl(off) or 'unknown'}.",
            _describe_route(destination, route),
        ),
        # Without a way on, forwarding would not help: then it is the address that is missing.
        fix=(forward, mine) if leads_on else (mine, forward),
        path=_path(case, device),
        tunnel=owner_name(case),
    )


@cause(
    "no-route",
    "the packet is for another host, to which this one has no route",
    stack.no_route,
)
def no_route(case: Case) -> Finding | None:
    """A decapsulated packet dies in ip_error() with forwarding on, or as IPv6 rejects.

    The route to its destination is asked for.
    """
    packet, device = case.delivered, case.iif
    if not packet or not device or martian_kind(packet.local):
        return None
    destination = packet.local
    route = case.route(destination)
    refusal = _REFUSALS.get(route.error or 0)
    where = f"the VRF {case.vrf.vrf}" if case.vrf else "this host"
    if refusal:
        why = f"which this host has a route of type {refusal} for"
    elif route.device is None:
        why = f"to which {where} has no route"
    else:
        why = f"to which this host has no route for what comes from {device}"
    vrf = in_vrf(case)
    add = run(case.netns, "ip", "route", "add", *vrf, host_prefix(destination), "via", "ROUTER")
    make = f"`{add}`, or `dev DEVICE` where it is on a link"
    if refusal:
        see = run(case.netns, "ip", "route", "show", *vrf, "match", destination)
        delete = run(case.netns, "ip", "route", "del", *vrf, refusal, "PREFIX")
        note = (
            f"A route of type {refusal} covers {destination}: see `{see}`, and delete it with "
            f"`{delete}`, or make a longer one: {make}."
        )
    elif route.device is None:
        note = f"Make a route; only you know which way it should go: {make}."
    else:
        rules = run(case.netns, "ip", "rule")
        asked = ("ip", "route", "get", destination, "from", packet.remote, "iif", device)
        note = (
            f"See `{rules}` and `{run(case.netns, *asked)}`: a rule sends these packets to "
            "another table than our own."
        )
    return Finding(
        summary=f"{device} has received packets for {destination}, {why}.",
        evidence=(describe_packet(packet), _describe_route(destination, route)),
        fix=(Fix(Where.HERE, note), _own_it(case, destination, device)),
        path=_path(case, device),
        confidence=Confidence.LIKELY if route.device else Confidence.CERTAIN,
        tunnel=owner_name(case),
    )


@cause(
    "mtu",
    "the packet inside the tunnel is too long for the link that it should leave by",
    stack.too_big_to_forward,
)
def mtu(case: Case) -> Finding | None:
    """A decapsulated packet dies in ip_forward() or ip6_forward() with PKT_TOO_BIG.

    The MTU is that of the route to its destination.
    """
    drop, device = case.drop, case.iif
    # ip6_forward() gives the packet the device that it should leave by before it frees it.
    leaves = drop.on_tunnel and drop.is_sent
    packet = case.packet if leaves else case.delivered
    if not packet or not device:
        return None
    route = case.route(packet.local)
    if not route.mtu or route.mtu >= packet.length:
        return None
    segment = largest_segment(route.mtu, packet.family)
    came = f"{device} should send on packets" if leaves else f"{device} has received packets"
    marked = "with DF, " if packet.must_not_fragment else ""
    return Finding(
        summary=f"{came} of {packet.length} bytes for {packet.local}, but only {route.mtu} bytes "
        f"fit through {route.name}.",
        evidence=(
            describe_packet(packet),
            f"The packet has {packet.length} bytes, {marked}and may not be fragmented.",
            f"The MTU towards {packet.local} is {route.mtu} ({route.name}).",
            f"A TCP segment that fits has {segment} bytes.",
            *(
                [describe_clamps(case, route.name, segment, trusts_route=True)]
                if packet.protocol == TCP and route.name
                else []
            ),
        ),
        fix=_shorten(case, packet, route, segment),
        path=("forward", device, str(drop.place)) if leaves else _path(case, device),
        tunnel=owner_name(case),
    )


def _shorten(case: Case, packet: Packet, route: Route, segment: int) -> tuple[Fix, ...]:
    into_tunnel = case.tables is not None and case.tables.by_ifindex(route.device or 0)
    widen = Fix(
        Where.HERE,
        f"Raise the MTU of {route.name}, if its link carries that much.",
        ip_link(case.netns, "set", route.name, "mtu", packet.length) if route.name else None,
    )
    clamp = Fix(
        Where.HERE,
        f"Have TCP connections through here use segments that fit, of {segment} bytes; those "
        "that are open stay as they are.",
        clamp_segments(case.netns, segment),
    )
    shorter = ip_link(HERE, "set", "TUNNEL", "mtu", route.mtu or 0)
    lower = Fix(
        Where.PEER,
        f"Lower the MTU of the peer's tunnel to {route.mtu}: {shorter}; and let ICMP's “too big” "
        "reach the sender.",
        ask=_ask_mtu(case, packet, route),
    )
    fits_a_link = packet.length <= ETHERNET_MTU and not into_tunnel
    others = (widen, lower) if fits_a_link else (lower,)
    known = packet.protocol == TCP
    return (clamp, *others) if known else others


def _ask_mtu(case: Case, packet: Packet, route: Route) -> Ask | None:
    """Ask the peer from whose tunnel it came, if it did."""
    came = case.carrier if case.delivered else None
    change = Change.MTU if packet.family == 4 else Change.MTU_IPV6
    return Ask(change, came.kind, route.mtu) if came and route.mtu else None


def _own_it(case: Case, destination: Address, device: str) -> Fix:
    return Fix(
        Where.HERE,
        f"If {destination} should be this host, give it the address.",
        run(case.netns, "ip", "addr", "add", host_prefix(destination), "dev", device),
    )


def _describe_route(destination: Address, route: Route) -> str:
    if refusal := _REFUSALS.get(route.error or 0):
        return f"The route to {destination} is of type {refusal}."
    if route.device is None:
        return f"There is no route to {destination}."
    via = f" via {route.gateway}" if route.gateway else ""
    return f"The route to {destination} is by {route.name}{via}."


def _path(case: Case, device: str) -> tuple[str, ...]:
    return (device, "decapsulated", "route", str(case.drop.place))
