# SPDX-License-Identifier: GPL-2.0-only
"""Tunnels, packets and drops for tests that need no kernel."""

from ipaddress import ip_address

from gretrace.commands import HERE
from gretrace.kernel.kinds import DEFAULT_LIMIT, KINDS
from gretrace.kernel.lookup import Tables
from gretrace.model import Drop, Place, Traffic, Tunnel
from gretrace.verdicts import Case
from gretrace.wire.packet import parse_packet
from tests.frames import gre_packet

A, B = "20.1.1.2", "20.1.1.1"
NETNS, VB = 4026532000, 7
GRE_RCV = Place("gre_rcv", "ip_gre")
SILENT = Traffic(received=0, sent=5)
HEARD = Traffic(received=9, sent=5, received_while_watching=2)
ONCE_HEARD = Traffic(received=9, sent=5, received_while_watching=0)


def tunnel(name="gre1", *, local=B, remote=A, key=None, ifindex=10, kind="gre", **more):
    """A tunnel as `ip link add NAME type gre local .. remote .. key ..` makes it."""
    limit = DEFAULT_LIMIT if KINDS[kind].family == 6 else None
    values = {"ikey": key, "okey": key, "ttl": 255, "encap_limit": limit, **more}
    return Tunnel(
        name=name,
        ifindex=ifindex,
        netns=NETNS,
        kind=kind,
        local=ip_address(local) if local else None,
        remote=ip_address(remote) if remote else None,
        **values,
    )


def drop(
    packet=None,
    *,
    place=GRE_RCV,
    reason="NOT_SPECIFIED",
    on_tunnel=False,
    length=None,
    in_udp=False,
    **more,
):
    """A drop of a packet, which may be bytes or the arguments of a GRE packet."""
    data = gre_packet(A, B) if packet is None else packet
    values = {"netns": NETNS, "ifindex": VB, "count": 1, "first_ns": 10**9, "last_ns": 10**9}
    return Drop(
        place=place,
        reason=reason,
        on_tunnel=on_tunnel,
        packet=parse_packet(data, length, in_udp=in_udp),
        **{**values, **more},
    )


def case(packet=None, *tunnels, traffic=None, netns=HERE, **more):
    """A case for the verdicts; every tunnel is silent unless told otherwise."""
    return Case(
        drop(packet, **more),
        Tables(tunnels),
        traffic or {t.ifindex: SILENT for t in tunnels},
        iif="vb",
        netns=netns,
    )
