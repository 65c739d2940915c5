"""Packets that a tunnel could not send (ip_tunnel_xmit() of net/ipv4/ip_tunnel.c, and its twin)."""

import errno

from gretrace.commands import Word, ip_link, run
from gretrace.kernel.kinds import LEAST_MTU, largest_segment, mtu_that_fits, overhead
from gretrace.model import Address, Confidence, Finding, Fix, Inner, Packet, Tunnel, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.underlay import (
    LOOPED,
    SENDERS,
    STRANGE_LOCAL,
    WAITING,
    Sending,
    find_circle,
    left,
    unsent,
)
from gretrace.verdicts.words import (
    change_command,
    clamp_segments,
    describe_packet,
    describe_tunnel,
)

# Where the packet dies that must not be fragmented on its way out.
FRAGMENTERS = ("ip_fragment", "ip6_fragment")

QUEUE_FULL = "NEIGH_QUEUEFULL"

# How the kernel refuses the route (fib_props of net/ipv4/fib_semantics.c, and ip6_null_entry).
REFUSALS = {
    errno.ENETUNREACH: "this host has no route to {0}",
    errno.EHOSTUNREACH: 'the route to {0} says "unreachable"',
    errno.EACCES: 'the route to {0} says "prohibit"',
    errno.EINVAL: 'the route to {0} is a "blackhole"',
}


@cause("tx-no-route", "the host has no route to the tunnel's remote, or not from its local address")
def tx_no_route(case: Case) -> Finding | None:
    """ip_tunnel_xmit() counts tx_carrier_errors; ip6_tnl_xmit_ctl() wants an own address."""
    sending = unsent(case, *SENDERS, *WAITING)
    error = sending.way.error if sending else None
    if not sending or error is None:
        return None
    if sending.way is STRANGE_LOCAL:
        return _strange_local(case, sending)
    tunnel = sending.tunnel
    refusal = REFUSALS.get(error, "the kernel refuses a route to {0}").format(sending.remote)
    by = f" by {tunnel.link_name}, to which it is bound" if tunnel.link_name else ""
    return Finding(
        summary=f"{tunnel.name} cannot send to its remote: {refusal}{by}.",
        evidence=_observed(case, tunnel),
        fix=(_reroute(case, sending, f"Route {sending.remote} by the underlay."),),
        path=_path(case, "route"),
        tunnel=tunnel.name,
    )


@cause("tx-loop", "the route to the tunnel's remote leads into the tunnel itself")
def tx_loop(case: Case) -> Finding | None:
    """ip_tunnel_xmit() and ip6_tnl_xmit() count a collision; a longer way round ends likewise."""
    sending = unsent(case, *SENDERS, *WAITING, *LOOPED)
    circle = find_circle(case, sending) if sending else []
    if not sending or not circle:
        return None
    name = sending.tunnel.name
    words = f"The route to {sending.remote}, the remote of {name}, leads into {name} itself."
    if len(circle) > 1:
        others = "; ".join(
            f"that to {one.remote}, of {one.name}, into {following.name}"
            for one, following in zip(circle[1:], [*circle[2:], circle[0]], strict=True)
        )
        words = f"The route to {sending.remote}, of {name}, leads into {circle[1].name}; {others}."
    return Finding(
        summary=words,
        evidence=(*_observed(case, sending.tunnel), *map(describe_tunnel, circle[1:])),
        fix=(_reroute(case, sending, f"Route {sending.remote} outside of the tunnels."),),
        path=_path(case, "route"),
        tunnel=name,
    )


@cause("tx-mtu", "the packet and the tunnel's headers do not fit the path, and must not be cut")
def tx_mtu(case: Case) -> Finding | None:
    """tnl_update_pmtu() tells the sender; ip_fragment() frees what left the tunnel with DF set."""
    packet, inside = case.packet, case.drop.on_tunnel
    sending = unsent(case, *SENDERS) or left(case, FRAGMENTERS)
    if not packet or not sending or sending.way.mtu is None or find_circle(case, sending):
        return None
    tunnel, remote, mtu = sending.tunnel, sending.remote, sending.way.mtu
    fits = mtu_that_fits(mtu, tunnel)
    # More than the device takes is an aggregate, which is cut anyway.
    if not fits < packet.length <= tunnel.mtu if inside else packet.length <= mtu:
        return None
    inner = packet if inside else packet.inner
    segment = largest_segment(fits, _version(inner))
    limit = f"Let {tunnel.name} take no more than fits, so that senders are told in time."
    # A device that takes less carries no IPv6 (addrconf_notify()).
    if fits < LEAST_MTU[6]:
        limit += f" With less than {LEAST_MTU[6]} bytes it carries no IPv6."
    needs = (
        f"The way to {remote} by {sending.way.name} takes {mtu} bytes, of which {tunnel.name} "
        f"needs {overhead(tunnel)} for its own headers."
    )
    return Finding(
        summary=f"{tunnel.name} takes packets of {tunnel.mtu} bytes, but only {fits} fit the way "
        f"to {remote} with its headers; {'one' if inside else 'one with its headers'} of "
        f"{packet.length} bytes was dropped.",
        evidence=(*_observed(case, tunnel), needs),
        fix=(
            Fix(Where.HERE, limit, ip_link(case.netns, "set", tunnel.name, "mtu", fits)),
            Fix(
                Where.HERE,
                f"Or, for TCP that is forwarded into {tunnel.name}: announce segments of "
                f"{segment} bytes, where ICMP does not get back to the sender.",
                clamp_segments(case.netns, segment, tunnel.name),
            ),
        ),
        path=_path(case, "mtu"),
        tunnel=tunnel.name,
    )


@cause("tx-no-neighbour", "the next hop does not tell its link-layer address")
def tx_no_neighbour(case: Case) -> Finding | None:
    """What waits for a neighbour is freed when it does not answer (neigh_invalidate())."""
    drop, packet = case.drop, case.packet
    if drop.place.function not in WAITING or packet is None or case.iif is None:
        return None
    asking = unsent(case, *WAITING)
    if asking and (asking.way.error is not None or find_circle(case, asking)):
        return None
    sending = left(case, WAITING)
    way = sending.way if sending else case.host.route(packet.local)
    hop = (way.gateway if way.device == drop.ifindex else None) or packet.local
    question = "ARP" if hop.version == 4 else "neighbour discovery"
    tunnel = sending.tunnel if sending else case.carrier
    whose = f"what {tunnel.name} sends" if sending and tunnel else "what goes"
    is_full = drop.reason == QUEUE_FULL
    evidence = [describe_packet(packet), *([describe_tunnel(tunnel)] if tunnel else [])]
    if is_full:
        evidence.append("More packets came meanwhile than the kernel keeps for a neighbour.")
    if tunnel and tunnel.link == drop.ifindex and way.gateway is None and sending:
        evidence.append(
            f"{tunnel.name} is bound to {case.iif}, where no route names a gateway for {hop}, "
            "so the kernel takes it to be on that link."
        )
    return Finding(
        summary=f"{hop} does not answer {question} on {case.iif}, so {whose} to {packet.local} "
        "cannot leave.",
        evidence=tuple(evidence),
        fix=(
            Fix(
                Where.PATH,
                f"See that {hop} is up and on the link of {case.iif}; FAILED or INCOMPLETE here "
                "means that it is still silent.",
                run(case.netns, "ip", "neigh", "show", hop, "dev", case.iif),
            ),
            Fix(Where.HERE, f"Or route {packet.local} by a next hop that answers."),
        ),
        path=_path(case, "neighbour"),
        confidence=Confidence.LIKELY if is_full else Confidence.CERTAIN,
        tunnel=tunnel.name if tunnel else None,
    )


def _strange_local(case: Case, sending: Sending) -> Finding:
    tunnel, local = sending.tunnel, sending.tunnel.local
    way = case.host.route(sending.remote, None, tunnel.link or None)
    fixes = []
    if way.source:
        fixes.append(
            Fix(
                Where.HERE,
                f"Send from {way.source}, by which this host reaches {sending.remote}; the peer's "
                "remote must be the same.",
                change_command(case.netns, tunnel, local=way.source),
            )
        )
    back = None
    if local and way.name:
        back = run(case.netns, "ip", "addr", "add", _host_prefix(local), "dev", way.name)
    fixes.append(Fix(Where.HERE, f"Give this host the address {local}, if it is to be.", back))
    return Finding(
        summary=f"{tunnel.name} cannot send: its local address {local} is none of this host.",
        evidence=_observed(case, tunnel),
        fix=tuple(fixes),
        path=_path(case, "route"),
        tunnel=tunnel.name,
    )


def _reroute(case: Case, sending: Sending, note: str) -> Fix:
    """Build the fix that routes a remote around the tunnels, as far as the way is known."""
    replace = ("ip", "route", "replace", _host_prefix(sending.remote))
    detour = sending.way.detour
    if detour is None:
        made = run(case.netns, *replace, "via", "GATEWAY", "dev", "LINK")
        return Fix(Where.HERE, f"{note} This host knows no gateway for it: {made}.")
    via: tuple[Word, ...] = ("via", detour.gateway) if detour.gateway else ()
    return Fix(Where.HERE, note, run(case.netns, *replace, *via, "dev", detour.name or "LINK"))


def _host_prefix(address: Address) -> str:
    return f"{address}/{address.max_prefixlen}"


def _version(inner: Packet | Inner | None) -> int:
    source = inner.source if isinstance(inner, Inner) else inner and inner.remote
    return source.version if source else 4


def _observed(case: Case, tunnel: Tunnel) -> tuple[str, ...]:
    described = (describe_packet(case.packet),) if case.packet else ()
    return (*described, describe_tunnel(tunnel))


def _path(case: Case, last: str) -> tuple[str, ...]:
    return (case.iif or "?", str(case.drop.place), last)
