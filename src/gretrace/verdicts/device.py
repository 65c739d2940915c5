# SPDX-License-Identifier: GPL-2.0-only
"""The right tunnel, but its device does not take the packet."""

from dataclasses import replace

from gretrace.commands import ip_link
from gretrace.kernel import receive, stack
from gretrace.kernel.kinds import (
    ERSPAN_TYPES,
    FRAMES,
    Kind,
    erspan_version,
    is_other_erspan,
    kind_of,
    unpacker_of,
)
from gretrace.kernel.lookup import Mismatch
from gretrace.model import Ask, Change, Finding, Fix, Tunnel, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.choice import missed_lookup, near_miss, set_up
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import add_and_set_up, describe_traffic, describe_tunnel, show_protocol


@cause("tunnel-down", "the tunnel that fits is administratively down", receive.no_tunnel)
def tunnel_down(case: Case) -> Finding | None:
    """The lookup passes by every device without IFF_UP."""
    near = near_miss(case, Mismatch.DOWN)
    if not near:
        return None
    name = near.tunnel.name
    return missed_lookup(
        case,
        near,
        f"{name} fits these packets, but it is down.",
        set_up(case, near.tunnel, f"Set {name} up."),
    )


@cause(
    "wrong-type",
    "the packet carries what this kind of tunnel does not take",
    receive.no_tunnel,
    stack.no_protocol,
)
def wrong_type(case: Case) -> Finding | None:
    """The peer's tunnel carries another payload than ours: IP packets, frames, or neither."""
    unhandled = _unhandled(case)
    if unhandled:
        return unhandled
    if other := _other_erspan(case):
        return other
    near, query = near_miss(case, Mismatch.TYPE), case.missed
    if not near or not query:
        return None
    tunnel = near.tunnel
    protocol = query.protocol
    wanted = unpacker_of(kind_of(tunnel).family, protocol)
    return missed_lookup(
        case,
        near,
        f"{tunnel.name} is a {tunnel.kind} tunnel, but the packets from {query.remote} carry "
        f"protocol {show_protocol(protocol)}, which only a {wanted.name} tunnel takes.",
        _make_anew(case, tunnel, wanted, protocol),
        _make_the_peers(tunnel),
    )


def _other_erspan(case: Case) -> Finding | None:
    """Explain packets of ERSPAN that have a session where the tunnel's type has none, or have none.

    The kernel looks it up as a key, which these packets lack, or have for nothing.
    """
    near, query = near_miss(case, Mismatch.KEY), case.missed
    if not near or not query:
        return None
    tunnel, kind = near.tunnel, kind_of(near.tunnel)
    if not is_other_erspan(tunnel, query.protocol, query.key):
        return None
    ours = ERSPAN_TYPES.get(0 if tunnel.ikey is None else tunnel.erspan_version, "of its own")
    theirs = ERSPAN_TYPES[erspan_version(query.protocol, query.key)]
    has = f"session {query.key}" if query.key is not None else "no session"
    anew = replace(tunnel, ikey=query.key, okey=query.key)
    return missed_lookup(
        case,
        near,
        f"{tunnel.name} is of ERSPAN type {ours}, but the packets from {query.remote} are of type "
        f"{theirs}, with {has}.",
        # Over IPv6 there is no type I.
        _make_anew(case, anew, kind, query.protocol) if 0 in kind.erspan else None,
        Fix(Where.PEER, f"Or have the peer send ERSPAN type {ours}."),
    )


def _make_the_peers(tunnel: Tunnel) -> Fix:
    return Fix(
        Where.PEER,
        f"Or make the peer's tunnel a {tunnel.kind} tunnel.",
        ask=Ask(Change.MODE, tunnel.kind),
    )


def _make_anew(case: Case, tunnel: Tunnel, kind: Kind, protocol: int) -> Fix:
    anew = replace(tunnel, kind=kind.name)
    if kind.erspan:
        if 0 not in kind.erspan:
            # Over IPv6 no key is session 0, and there is no type I, which has neither.
            anew = replace(anew, ikey=tunnel.ikey or 0, okey=tunnel.okey or 0)
        version = erspan_version(protocol, anew.ikey)
        anew = replace(anew, iseq=version > 0, oseq=version > 0, erspan_version=version)
    elif kind_of(tunnel).erspan:
        anew = replace(anew, iseq=False, oseq=False)
    return Fix(
        Where.HERE,
        f"Make {tunnel.name} anew as {kind.name}: a device cannot change its type, and its "
        "addresses and routes go with it."
        if kind.name != tunnel.kind
        else f"Make {tunnel.name} anew with that type; its addresses and routes go with it.",
        ip_link(case.netns, "del", tunnel.name) + add_and_set_up(case.netns, anew),
    )


def _unhandled(case: Case) -> Finding | None:
    """Explain a payload that an L3 tunnel took, and that the stack then had nobody for."""
    tunnel, protocol = case.carrier, case.drop.protocol
    if not tunnel or tunnel.fallback or kind_of(tunnel).is_ethernet or case.drop.is_sent:
        return None
    if not case.is_at(stack.no_protocol):
        return None
    if protocol is None or protocol not in FRAMES:
        return None
    peer, wanted = tunnel.remote or "the peer", unpacker_of(kind_of(tunnel).family, protocol)
    traffic = case.traffic.get(tunnel.ifindex)
    described = describe_traffic(tunnel, traffic)
    fixes = [
        _make_anew(case, tunnel, wanted, protocol),
        _make_the_peers(tunnel),
    ]
    if traffic and traffic.received > traffic.received_while_watching:
        # It has received something before, which would be lost with it.
        fixes.reverse()
    return Finding(
        summary=f"{tunnel.name} is a {tunnel.kind} tunnel, but packets from {peer} carry protocol "
        f"{show_protocol(protocol)}, which only a {wanted.name} tunnel unpacks.",
        evidence=(
            describe_tunnel(tunnel),
            *([described] if described else []),
            "The tunnel took the packet, and the kernel then had no handler for its protocol.",
        ),
        fix=tuple(fixes),
        path=(tunnel.name, case.drop.place.function),
        tunnel=tunnel.name,
    )
