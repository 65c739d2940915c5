# SPDX-License-Identifier: GPL-2.0-only
"""The host does not believe the packet's source (fib_validate_source() of fib_frontend.c)."""

from gretrace.commands import run, sysctl
from gretrace.kernel import stack
from gretrace.kernel.settings import reverse_path, setting_name, without_reverse_path
from gretrace.kernel.stay import impossible_source, is_refused_own
from gretrace.model import Address, Confidence, Finding, Fix, Packet, Route, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.ends import owner_name
from gretrace.verdicts.registry import cause
from gretrace.verdicts.settings import describe_reverse_path
from gretrace.verdicts.standing import in_vrf
from gretrace.verdicts.words import describe_packet, host_prefix

STRICT, LOOSE = 1, 2


@cause(
    "rp-filter",
    "the reverse path filter refuses the source of the packet inside the tunnel",
    stack.reverse_path_filter,
)
def rp_filter(case: Case) -> Finding | None:
    """The kernel frees a decapsulated packet with the reason IP_RPFILTER.

    Both settings are read, and the route to the packet's source.
    """
    return _refused_path(case, case.delivered) if case.drop.on_tunnel else None


@cause(
    "rp-filter-outer",
    "the reverse path filter refuses the source of the GRE packet itself",
    stack.reverse_path_filter,
)
def rp_filter_outer(case: Case) -> Finding | None:
    """The kernel frees a GRE packet on the device that it came by, for IP_RPFILTER.

    Both settings are read, and the route to the peer.
    """
    packet = case.packet
    is_outer = packet and packet.gre and not case.drop.on_tunnel
    return _refused_path(case, packet) if is_outer else None


@cause(
    "martian-source",
    "the source is an address of this host, or one that no host may have",
    stack.martian_source,
)
def martian_source(case: Case) -> Finding | None:
    """A packet dies while it is routed, for no reason or one such as IP_LOCAL_SOURCE.

    Its source is our own while accept_local is off, or a loopback, multicast or broadcast
    address.
    """
    drop, device = case.drop, case.iif
    packet = case.delivered if drop.on_tunnel else case.packet
    if not packet or not device or drop.is_sent or not (drop.on_tunnel or packet.gre):
        return None
    source = packet.remote
    if kind := impossible_source(source):
        return _impossible_source(case, packet, device, kind)
    if packet.family == 6 or not is_refused_own(case.stay, device):
        return None
    settings = {
        setting_name(device, "accept_local"): 1,
        **without_reverse_path(case.host.sysctl, device),
    }
    off = " and ".join(setting_name(of, "accept_local") for of in ("all", device))
    also = ", and rp_filter off, which would refuse them next," if len(settings) > 1 else ""
    return Finding(
        summary=f"{_subject(case, device)} come from {source}, which is an address of this host.",
        evidence=(
            describe_packet(packet),
            f"{source} is an address of this host, and {off} are 0.",
            describe_reverse_path(case, device),
        ),
        fix=(
            Fix(
                Where.HERE,
                f"If they are meant to come back, as from a program that encapsulates them "
                f"here: accept own addresses on {device}{also} in one step.",
                sysctl(case.netns, settings),
            ),
            Fix(
                Where.PEER,
                f"Otherwise find who else has {source}, or the loop of routes that sends our "
                "own packets back.",
            ),
        ),
        path=_path(case, device),
        tunnel=owner_name(case),
    )


def _impossible_source(case: Case, packet: Packet, device: str, kind: str) -> Finding:
    source = packet.remote
    return Finding(
        summary=f"{_subject(case, device)} come from {source}, {kind}.",
        evidence=(describe_packet(packet), f"No host may send from {source}."),
        fix=(
            Fix(
                Where.PEER,
                f"Have the sender use an address of its own; {source} must not leave its host.",
            ),
        ),
        path=_path(case, device),
        tunnel=owner_name(case),
    )


def _refused_path(case: Case, packet: Packet | None) -> Finding | None:
    device, drop = case.iif, case.drop
    if not packet or not device or packet.family != 4 or drop.is_sent:
        return None
    source = packet.remote
    route = case.route(source)
    return Finding(
        summary=f"{_subject(case, device)} come from {source}, {_way_back(case, route, device)}: "
        "the reverse path filter refuses them.",
        evidence=(
            describe_packet(packet),
            describe_reverse_path(case, device),
            _describe_route(case, source, route),
        ),
        fix=_open_path(case, packet, device, route),
        path=_path(case, device),
        confidence=Confidence.LIKELY if drop.reason is None else Confidence.CERTAIN,
        tunnel=owner_name(case),
    )


def _open_path(case: Case, packet: Packet, device: str, route: Route) -> tuple[Fix, ...]:
    source, counts = packet.remote, reverse_path(case.host.sysctl, device)
    to = (*in_vrf(case), host_prefix(source))
    replace = run(case.netns, "ip", "route", "replace", *to, "dev", device)
    behind = "" if case.drop.on_tunnel else "; add `via` and the router, if it is behind one"
    if route.device is None and not route.is_own:
        return (
            Fix(Where.HERE, f"Make a route to {source} by {device}{behind}.", replace),
            Fix(Where.PEER, "Or have the sender use an address that is known here."),
        )
    back = Fix(Where.HERE, f"Or send to {source} by {device} as well{behind}.", replace)
    # Loose mode is of no use on a device without an address (no_addr of __fib_validate_source()).
    has_address = any(own.version == 4 for own in case.host.addresses(case.drop.ifindex))
    if counts == STRICT and has_address and not route.is_own:
        return (
            Fix(
                Where.HERE,
                f"Let the way back be another one: loose mode on {device}. 0 would not help "
                "where `all` is 1, as the greater one counts.",
                sysctl(case.netns, {setting_name(device, "rp_filter"): LOOSE}),
            ),
            back,
        )
    off = Fix(
        Where.HERE,
        f"Check no sources on {device}. Set for `all`, it holds for every device that has no "
        "value of its own.",
        sysctl(
            case.netns,
            without_reverse_path(case.host.sysctl, device)
            or {setting_name(device, "rp_filter"): 0},
        ),
    )
    return (off,) if route.is_own else (off, back)


def _way_back(case: Case, route: Route, device: str) -> str:
    if route.is_own:
        return "an address of this host"
    if route.device is None:
        return "to which this host has no route"
    if route.device == case.drop.ifindex:
        return "to which rules or marks lead another way"
    return f"to which this host sends by {route.name}, not by {device}"


def _describe_route(case: Case, source: Address, route: Route) -> str:
    if route.is_own:
        return f"{source} is an address of this host."
    if route.device is None:
        asked = run(case.netns, "ip", "route", "get", source, *in_vrf(case))
        return f"`{asked}` finds no route."
    via = f" via {route.gateway}" if route.gateway else ""
    return f"The route to {source} is by {route.name}{via}."


def _subject(case: Case, device: str) -> str:
    if case.drop.on_tunnel:
        return f"Packets that {device} has received"
    return f"GRE packets that arrive on {device}"


def _path(case: Case, device: str) -> tuple[str, ...]:
    steps = (device, "decapsulated") if case.drop.on_tunnel else (device,)
    return (*steps, "source check", str(case.drop.place))
