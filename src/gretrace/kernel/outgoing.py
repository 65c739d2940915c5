# SPDX-License-Identifier: GPL-2.0-only
"""A packet that a tunnel sends, and the kernel's way to where it sends it."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gretrace.kernel.ipsec import Policy
from gretrace.kernel.lookup import Query, Tables
from gretrace.kernel.surroundings import Surroundings
from gretrace.model import Address, Drop, Metadata, Packet, Route, Tunnel

# The way from an address that is none of this host.
STRANGE_LOCAL = Route(error=errno.EADDRNOTAVAIL)


@dataclass(frozen=True)
class Sending:
    """A packet on its way out through a tunnel, and the kernel's way to the tunnel's remote."""

    packet: Packet | None
    tunnel: Tunnel | None = None
    remote: Address | None = None  # None: the tunnel has none, each packet its own
    way: Route = field(default_factory=Route)
    circle: Sequence[Tunnel] = ()  # the tunnels that the way leads through, if it ends in one
    is_inside: bool = True  # not encapsulated yet
    policy: Policy | None = None  # of IPsec, that lets nothing through to the remote
    hop: Address | None = None  # of a tunnel to anywhere: the neighbour that lives at `remote`
    metadata: Metadata | None = None  # of an external tunnel: what the route says

    @property
    def shape(self) -> Tunnel | None:
        """The tunnel as its headers are: those of an external one are as its metadata say."""
        if self.tunnel is None or self.metadata is None:
            return self.tunnel
        told = self.metadata
        return replace(
            self.tunnel,
            okey=0 if told.has_key else None,
            ocsum=told.has_checksum,
            oseq=told.has_sequence,
            encap_limit=None,  # ip6gre_xmit_ipv4() and its like leave it out
        )

    @property
    def is_known(self) -> bool:
        """Whether the way was asked for, and there was an answer."""
        return self.way.error is not None or self.way.device is not None


def sending_of(drop: Drop, tables: Tables | None, host: Surroundings) -> Sending:
    """Tell what is known of a packet that was on its way out, encapsulated or not yet."""
    packet = drop.packet
    if tables is None:
        return Sending(packet)
    if drop.on_tunnel:
        tunnel = tables.by_ifindex(drop.ifindex)
        if tunnel is None:
            return Sending(packet)
        if tunnel.remote is None:
            return _to_neighbour(packet, tunnel, tables, host)
        return _sending(packet, tunnel, tunnel.remote, tables, host, is_inside=True)
    if packet is None or packet.gre is None or not drop.is_sent:
        return Sending(packet, is_inside=False)
    sender = find_sender(packet, tables)
    if sender is None:
        return Sending(packet, is_inside=False)
    return _sending(packet, sender, packet.local, tables, host, is_inside=False)


def find_sender(packet: Packet, tables: Tables) -> Tunnel | None:
    """Return the tunnel that has encapsulated a packet, if it is one of these."""
    if packet.gre is None:
        return None
    # Its peer would look it up the other way round, and so the nearest tunnels are found.
    query = Query(packet.local, packet.remote, packet.gre.key, packet.gre.protocol)
    for candidate in tables.candidates(query):
        tunnel = candidate.tunnel
        ends = tunnel.remote == packet.local and tunnel.local in (None, packet.remote)
        if ends and tunnel.okey == packet.gre.key:
            return tunnel
    return None


def find_way(host: Surroundings, tunnel: Tunnel, remote: Address) -> Route:
    """Ask for the kernel's way, as the tunnel itself does: from its own address, by its link."""
    if tunnel.local:
        link = host.device(tunnel.link) if tunnel.link else None
        own = host.route(tunnel.local, None, link.vrf_ifindex if link else None)
        if not own.is_own and (own.device is not None or own.error is not None):
            return STRANGE_LOCAL
    return host.route(remote, tunnel.local, tunnel.link or None)


def _sending(
    packet: Packet | None,
    tunnel: Tunnel,
    remote: Address,
    tables: Tables,
    host: Surroundings,
    *,
    is_inside: bool,
) -> Sending:
    way = find_way(host, tunnel, remote)
    return Sending(
        *(packet, tunnel, remote, way, _circle(tunnel, way, tables, host)),
        is_inside=is_inside,
        policy=_refusing_policy(host, tunnel, remote, way),
    )


def _refusing_policy(
    host: Surroundings, tunnel: Tunnel, remote: Address, way: Route
) -> Policy | None:
    """Return the policy that keeps a tunnel from sending (xfrm_lookup_with_ifid())."""
    source = tunnel.local or way.source
    if source is None or way.device is None:
        return None
    ipsec = host.ipsec()
    policy = ipsec.decisive("out", source, remote, tunnel.okey, way.device)
    if policy is None or policy.block:
        return policy
    return None if policy.optional or ipsec.between(source, remote) else policy


def _to_neighbour(
    packet: Packet | None, tunnel: Tunnel, tables: Tables, host: Surroundings
) -> Sending:
    """Tell the way of a tunnel to anywhere, where a neighbour entry says it."""
    if packet is None:
        return Sending(packet, tunnel)
    device = host.device(tunnel.ifindex)
    way = host.route(packet.local, None, device.vrf_ifindex if device else None)
    if tunnel.external:
        return _by_metadata(packet, tunnel, way, tables, host)
    hop = (way.gateway if way.device == tunnel.ifindex else None) or packet.local
    remote = host.neighbour(tunnel.ifindex, hop)
    if remote is None:
        return Sending(packet, tunnel)
    return replace(_sending(packet, tunnel, remote, tables, host, is_inside=True), hop=hop)


def _by_metadata(
    packet: Packet, tunnel: Tunnel, way: Route, tables: Tables, host: Surroundings
) -> Sending:
    """Tell the way of an external tunnel, where the route into it says whither."""
    told = way.metadata if way.device == tunnel.ifindex else None
    if told is None:
        return Sending(packet, tunnel)
    # What they say as source is for ip_md_tunnel_xmit() to be of this host; ip6_tnl_xmit() lets
    # any be.
    local = told.local if told.remote.version == 4 else None
    alike = replace(tunnel, local=local)
    known = _sending(packet, alike, told.remote, tables, host, is_inside=True)
    return replace(known, tunnel=tunnel, hop=packet.local, metadata=told)


def _circle(tunnel: Tunnel, way: Route, tables: Tables, host: Surroundings) -> Sequence[Tunnel]:
    circle = [tunnel]
    while following := tables.by_ifindex(way.device or 0):
        if any(one.ifindex == following.ifindex for one in circle):
            return circle
        if following.remote is None:
            break
        circle.append(following)
        way = find_way(host, following, following.remote)
    return ()
