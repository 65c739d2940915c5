# SPDX-License-Identifier: GPL-2.0-only
"""Packets that a tunnel could not send (ip_tunnel_xmit() of net/ipv4/ip_tunnel.c, and its twin)."""

from gretrace.commands import Word, ip_link, run
from gretrace.kernel import send
from gretrace.kernel.kinds import LEAST_MTU, largest_segment, mtu_that_fits, overhead
from gretrace.model import (
    Address,
    Confidence,
    Finding,
    Fix,
    Inner,
    Packet,
    Tunnel,
    Where,
)
from gretrace.verdicts.case import Case
from gretrace.verdicts.clamping import describe_clamps
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import (
    clamp_segments,
    describe_packet,
    describe_tunnel,
    host_prefix,
)

QUEUE_FULL = "NEIGH_QUEUEFULL"


@cause(
    "tx-loop",
    "the route to the tunnel's remote leads into the tunnel itself",
    *(send.route_into_itself, send.silent_neighbour, send.recursion),
)
def tx_loop(case: Case) -> Finding | None:
    """ip_tunnel_xmit() and ip6_tnl_xmit() count a collision; a longer way round ends likewise."""
    sending = case.sending
    tunnel, remote, circle = sending.tunnel, sending.remote, sending.circle
    if tunnel is None or remote is None or not circle or not sending.is_inside:
        return None
    name = tunnel.name
    whose = f"where {sending.hop} lives" if sending.hop else f"the remote of {name}"
    words = f"The route to {remote}, {whose}, leads into {name} itself."
    if len(circle) > 1:
        others = "; ".join(
            f"that to {one.remote}, of {one.name}, into {following.name}"
            for one, following in zip(circle[1:], [*circle[2:], circle[0]], strict=True)
        )
        words = f"The route to {remote}, of {name}, leads into {circle[1].name}; {others}."
    return Finding(
        summary=words,
        evidence=(*observed(case, tunnel), *map(describe_tunnel, circle[1:])),
        fix=(reroute(case, remote, f"Route {remote} outside of the tunnels."),),
        path=path(case, "route"),
        tunnel=name,
    )


@cause(
    "tx-mtu",
    "the packet and the tunnel's headers do not fit the path, and must not be cut",
    *(send.too_big_to_send, send.too_big_to_leave),
)
def tx_mtu(case: Case) -> Finding | None:
    """tnl_update_pmtu() tells the sender; ip_fragment() frees what left the tunnel with DF set."""
    sending = case.sending
    packet, inside, tunnel = case.packet, sending.is_inside, sending.tunnel
    remote, mtu = sending.remote, sending.way.mtu
    if packet is None or tunnel is None or mtu is None:
        return None
    shape = sending.shape or tunnel
    fits = mtu_that_fits(mtu, shape)
    inner = packet if inside else packet.inner
    segment = largest_segment(fits, _version(inner))
    limit = f"Let {tunnel.name} take no more than fits, so that senders are told in time."
    # A device that takes less carries no IPv6 (addrconf_notify()).
    if fits < LEAST_MTU[6]:
        limit += f" With less than {LEAST_MTU[6]} bytes it carries no IPv6."
    needs = (
        f"The way to {remote} by {sending.way.name} takes {mtu} bytes, of which {tunnel.name} "
        f"needs {overhead(shape)} for its own headers."
    )
    return Finding(
        summary=f"{tunnel.name} takes packets of {tunnel.mtu} bytes, but only {fits} fit the way "
        f"to {remote} with its headers; {'one' if inside else 'one with its headers'} of "
        f"{packet.length} bytes was dropped.",
        evidence=(
            *observed(case, tunnel),
            needs,
            describe_clamps(case, tunnel.name, segment, trusts_route=False),
        ),
        fix=(
            Fix(Where.HERE, limit, ip_link(case.netns, "set", tunnel.name, "mtu", fits)),
            Fix(
                Where.HERE,
                f"Or, for TCP that is forwarded here, into {tunnel.name} and out of it: announce "
                f"segments of {segment} bytes, where ICMP does not get back to the sender.",
                clamp_segments(case.netns, segment),
            ),
        ),
        path=path(case, "mtu"),
        tunnel=tunnel.name,
    )


@cause(
    "tx-no-neighbour",
    "the next hop does not tell its link-layer address",
    send.silent_neighbour,
)
def tx_no_neighbour(case: Case) -> Finding | None:
    """What waits for a neighbour is freed when it does not answer (neigh_invalidate())."""
    drop, packet, sending = case.drop, case.packet, case.sending
    if packet is None or case.iif is None:
        return None
    if drop.leaving_by or case.anywhere:
        return None
    # What waits inside a tunnel for frames asks in vain if the tunnel cannot send.
    if sending.is_inside and (sending.way.error is not None or sending.circle):
        return None
    has_left = sending.tunnel is not None and not sending.is_inside
    way = sending.way if has_left else case.route(packet.local)
    device = case.host.device(drop.ifindex) if has_left else None
    if device and device.up and not device.carrier:
        return None
    hop = (way.gateway if way.device == drop.ifindex else None) or packet.local
    question = "ARP" if hop.version == 4 else "neighbour discovery"
    tunnel = sending.tunnel if has_left else case.carrier
    whose = f"what {tunnel.name} sends" if has_left and tunnel else "what goes"
    is_full = drop.reason == QUEUE_FULL
    evidence = [describe_packet(packet), *([describe_tunnel(tunnel)] if tunnel else [])]
    if is_full:
        evidence.append("More packets came meanwhile than the kernel keeps for a neighbour.")
    if tunnel and tunnel.link == drop.ifindex and way.gateway is None and has_left:
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
        path=path(case, "neighbour"),
        confidence=Confidence.LIKELY if is_full else Confidence.CERTAIN,
        tunnel=tunnel.name if tunnel else None,
    )


def reroute(case: Case, remote: Address, note: str, table: int | None = None) -> Fix:
    """Build the fix that routes a remote around the tunnels, as far as the way is known."""
    replace: tuple[Word, ...] = ("ip", "route", "replace", host_prefix(remote))
    replace += ("table", table) if table is not None else ()
    detour = case.sending.way.detour
    if detour is None or detour.name is None:
        made = run(case.netns, *replace, "via", "GATEWAY", "dev", "LINK")
        return Fix(Where.HERE, f"{note} This host knows no gateway for it: {made}.")
    via: tuple[Word, ...] = ("via", detour.gateway) if detour.gateway else ()
    return Fix(Where.HERE, note, run(case.netns, *replace, *via, "dev", detour.name))


def _version(inner: Packet | Inner | None) -> int:
    source = inner.source if isinstance(inner, Inner) else inner and inner.remote
    return source.version if source else 4


def observed(case: Case, tunnel: Tunnel) -> tuple[str, ...]:
    """Describe a packet, and the tunnel that was to send it."""
    described = (describe_packet(case.packet),) if case.packet else ()
    sending, seen = case.sending, (*described, describe_tunnel(tunnel))
    if not sending.metadata:
        return seen
    return (*seen, f"The route to {sending.hop} has {tunnel.name} send to {sending.remote}.")


def path(case: Case, last: str) -> tuple[str, ...]:
    """Tell the way of a packet that a tunnel did not send, with where it ended as a word."""
    return (case.iif or "?", str(case.drop.place), last)
