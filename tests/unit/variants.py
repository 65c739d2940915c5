# SPDX-License-Identifier: GPL-2.0-only
"""Cases that are almost another: with one or two things that tell causes apart changed at random.

What comes out need not be possible in a kernel; a verdict must be the same for it as before.
"""

from dataclasses import fields, replace
from ipaddress import ip_address

from gretrace.kernel.lookup import Tables
from gretrace.model import Traffic
from tests.unit.cases import HEARD, ONCE_HEARD, SILENT, A, B
from tests.unit.host import FakeHost

MARKS = ("on_tunnel", "is_pulled", "is_routed", "is_sent")
BORROWED = (
    *(("place", "reason"), ("reason",), ("packet",), ("packet", "on_tunnel", "ifindex")),
    *(("protocol",), ("label",), ("leaving_by",), ("below",), ("ifindex",)),
)
FLAGS = ("up", "external", "fallback", "moved", "icsum", "ocsum", "iseq", "oseq", "pmtudisc")
ADDRESSES = (None, ip_address(A), ip_address(B), ip_address("20.1.1.99"))
KEYS, LINKS, MTUS = (None, 0, 1, 7), (0, 7, 8), (0, 1280, 1400, 1476)


def flipped(rng, one, names):
    name = rng.choice(names)
    return replace(one, **{name: not getattr(one, name)})


def with_other_drop(rng, judged, other):
    if rng.random() < 0.4:
        return replace(judged, drop=flipped(rng, judged.drop, MARKS))
    borrowed = {name: getattr(other.drop, name) for name in rng.choice(BORROWED)}
    return replace(judged, drop=replace(judged.drop, **borrowed))


def other_tunnel(rng, tunnel):
    match rng.randrange(6):
        case 0 | 1:
            return flipped(rng, tunnel, FLAGS)
        case 2:
            return replace(tunnel, ikey=rng.choice(KEYS), okey=rng.choice(KEYS))
        case 3:
            return replace(tunnel, link=rng.choice(LINKS), mtu=rng.choice(MTUS))
        case 4 if tunnel.local is None or tunnel.local.version == 4:
            return replace(tunnel, local=rng.choice(ADDRESSES))
        case _ if tunnel.remote is None or tunnel.remote.version == 4:
            return replace(tunnel, remote=rng.choice(ADDRESSES))
        case _:
            return replace(tunnel, stray_ikey=rng.choice((0, 1)), encap_limit=rng.choice((None, 4)))


def with_other_tunnels(rng, judged, other):
    if judged.tables is None or other.tables is None:
        return replace(judged, tables=other.tables)
    tunnels = list(judged.tables.tunnels)
    if tunnels and rng.random() < 0.8:
        at = rng.randrange(len(tunnels))
        tunnels[at] = other_tunnel(rng, tunnels[at])
    elif tunnels and rng.random() < 0.5:
        del tunnels[rng.randrange(len(tunnels))]
    else:
        tunnels += [
            replace(t, ifindex=40 + n, name=f"more{n}") for n, t in enumerate(other.tables.tunnels)
        ]
    return replace(judged, tables=Tables(tunnels))


def with_other_traffic(rng, judged, _other):
    if judged.tables is None:
        return judged
    heard = (SILENT, HEARD, ONCE_HEARD, Traffic(received=1, sent=0))
    return replace(judged, traffic={t.ifindex: rng.choice(heard) for t in judged.tables.tunnels})


def other_value(rng, value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((0, 1, 2, value + 1))
    return value


def with_other_host(rng, judged, other):
    host = judged.host
    if not isinstance(host, FakeHost) or rng.random() < 0.2:
        return replace(judged, host=other.host)
    name = rng.choice([field.name for field in fields(host)])
    value = getattr(host, name)
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        kept = {k: v for k, v in value.items() if k != key}
        if rng.random() < 0.7:
            kept[key] = changed(rng, value[key])
        return replace(judged, host=replace(host, **{name: kept}))
    if isinstance(other.host, FakeHost):
        return replace(judged, host=replace(host, **{name: getattr(other.host, name)}))
    return replace(judged, host=replace(host, **{name: type(value)()})) if value else judged


def changed(rng, value):
    """Return a setting with another value, or a record with another field."""
    if isinstance(value, int):
        return other_value(rng, value)
    if not hasattr(value, "__dataclass_fields__"):
        return value
    names = [f.name for f in fields(value) if isinstance(getattr(value, f.name), int)]
    if not names:
        return value
    name = rng.choice(names)
    return replace(value, **{name: other_value(rng, getattr(value, name))})


CHANGES = (
    with_other_drop,
    with_other_drop,
    with_other_tunnels,
    with_other_traffic,
    with_other_host,
)


def variant(rng, judged, others):
    """Return a case that differs from another in one thing or two."""
    for _ in range(rng.choice((1, 1, 2))):
        judged = rng.choice(CHANGES)(rng, judged, rng.choice(others))
    return judged
