# SPDX-License-Identifier: GPL-2.0-only
"""The right tunnel but for its key (ip_tunnel_key_match() of net/ipv4/ip_tunnel.c).

ERSPAN's session is looked up as a key. A packet of ERSPAN type I has none, nor has a tunnel of
it: that is another type, not a missing key.
"""

from gretrace.kernel import receive
from gretrace.kernel.kinds import ERSPAN, is_other_erspan
from gretrace.kernel.lookup import Mismatch
from gretrace.model import Ask, Change, Finding, Fix, Tunnel, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.choice import missed_lookup, near_miss
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import change_command
from gretrace.wire.keys import show_key


@cause("key-mismatch", "packet and tunnel have a key each, and the keys differ", receive.no_tunnel)
def key_mismatch(case: Case) -> Finding | None:
    """The tunnel expects one key, the packet has another."""
    near, query = near_miss(case, Mismatch.KEY), case.missed
    if not near or not query or near.tunnel.ikey is None or query.key is None:
        return None
    tunnel = near.tunnel
    is_session = query.protocol in ERSPAN
    word = "session" if is_session else "key"
    peers = "ERSPAN ID (on Cisco, erspan-id)" if is_session else "okey (on Cisco, tunnel key)"
    return missed_lookup(
        case,
        near,
        f"{tunnel.name} expects {show_key(tunnel.ikey, word)}, but the packets from "
        f"{query.remote} carry {show_key(query.key, word)}.",
        _take_key(case, tunnel, query.key),
        Fix(
            Where.PEER,
            f"Or send {show_key(tunnel.ikey, word)}: that is the peer's {peers}.",
            ask=None if is_session else _ask_key(tunnel),
        ),
    )


@cause("key-missing", "the tunnel expects a key and the packet has none", receive.no_tunnel)
def key_missing(case: Case) -> Finding | None:
    """The tunnel expects a key, the packet has no key field."""
    near, query = near_miss(case, Mismatch.KEY), case.missed
    if not near or not query or query.key is not None:
        return None
    tunnel = near.tunnel
    if is_other_erspan(tunnel, query.protocol, query.key):
        return None
    return missed_lookup(
        case,
        near,
        f"{tunnel.name} expects {show_key(tunnel.ikey)}, but the packets from {query.remote} "
        "carry no key.",
        _take_key(case, tunnel, None),
        Fix(
            Where.PEER,
            f"Or send {show_key(tunnel.ikey)}: set it as the peer's okey.",
            ask=_ask_key(tunnel),
        ),
    )


@cause("key-unexpected", "the packet has a key and the tunnel has none", receive.no_tunnel)
def key_unexpected(case: Case) -> Finding | None:
    """The tunnel has no key, the packet has one; key 0 counts as one."""
    near, query = near_miss(case, Mismatch.KEY), case.missed
    if not near or not query or query.key is None or near.tunnel.ikey is not None:
        return None
    tunnel = near.tunnel
    if is_other_erspan(tunnel, query.protocol, query.key):
        return None
    return missed_lookup(
        case,
        near,
        f"{tunnel.name} has no key, but the packets from {query.remote} "
        f"carry {show_key(query.key)}.",
        _take_key(case, tunnel, query.key),
        Fix(
            Where.PEER,
            "Or send no key: remove the peer's okey (on Cisco, no tunnel key).",
            ask=_ask_key(tunnel),
        ),
    )


def _ask_key(tunnel: Tunnel) -> Ask:
    change = Change.NO_KEY if tunnel.ikey is None else Change.KEY
    return Ask(change, tunnel.kind, tunnel.ikey, both_ways=tunnel.ikey == tunnel.okey)


def _take_key(case: Case, tunnel: Tunnel, key: int | None) -> Fix:
    """Expect what the peer sends, and send the same unless the keys differed by intent."""
    if tunnel.ikey != tunnel.okey:
        note = f"Expect {show_key(key)}; okey stays as it is."
        command = change_command(case.netns, tunnel, ikey=key)
    elif key is None:
        note = f"Remove the key from {tunnel.name}."
        command = change_command(case.netns, tunnel, ikey=None, okey=None)
    else:
        note = f"Use the peer's {show_key(key)} both ways."
        command = change_command(case.netns, tunnel, ikey=key, okey=key)
    return Fix(Where.HERE, note, command)
