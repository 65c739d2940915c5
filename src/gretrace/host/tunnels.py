# SPDX-License-Identifier: GPL-2.0-only
"""The GRE tunnels of a network namespace, as netlink tells them, and kept fresh."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING

from gretrace.host.gre_link import place_of, read_tunnel
from gretrace.host.iproute import open_iproute
from gretrace.host.namespaces import Namespace, entered
from gretrace.host.neighbours import link_layer_address
from gretrace.host.netlink import Link, LinkChanges, Links
from gretrace.host.routes import AF_OF_VERSION, ask_route, find_detour
from gretrace.host.rules import find_refusing_rule
from gretrace.kernel.kinds import KINDS, Kind
from gretrace.kernel.lookup import Tables
from gretrace.model import Address, Device, RefusingRule, Route, Traffic, Tunnel

if TYPE_CHECKING:
    from pyroute2.iproute import IPRoute

IFF_UP, IFF_RUNNING = 0x1, 0x40  # uapi/linux/if.h
# To ask for a link costs about twice as much as to be told of it among all.
WORTH_A_DUMP = 0.5


class TunnelTable:
    """A snapshot of the tunnels of one namespace that knows when it is out of date.

    Raises PrerequisiteError when the namespace cannot be entered.
    """

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        with entered(namespace):
            self._links = Links()
            self._changes = LinkChanges()
        self.cookie = self._links.cookie()
        self._received_at_start: dict[int, int] = {}
        self._names: dict[int, str] = {}
        self._known: dict[int, Tunnel] = {}
        self._bound_elsewhere: set[int] = set()
        self._stale: set[int] = set()
        self._all_stale = True
        self._tables = Tables()
        self.before: Tables | None = None
        self._refresh()
        self.before = None

    def fileno(self) -> int:
        """Return a descriptor that is readable once a link of the namespace changed."""
        return self._changes.fileno()

    def take_notice(self) -> bool:
        """Note, and return, whether a link changed since the last call.

        The socket only wakes: of a notification only the link's index is read, and the link
        itself from the kernel when it is needed. What a notification says may be half a
        change: ipgre_tunnel_ctl() of net/ipv4/ip_gre.c sets the flags of a tunnel after
        ip_tunnel_update() has told of its key.
        """
        changed = self._changes.take()
        if changed is None:
            self._all_stale = True
            return True
        self._stale |= changed
        return bool(changed)

    @property
    def tables(self) -> Tables:
        """The tunnels at the last notice; `before` then holds those that they replaced.

        The same object as long as no tunnel changes, so that what it remembers stays of use.
        """
        self._refresh_if_stale()
        return self._tables

    @property
    def tunnels(self) -> Sequence[Tunnel]:
        """The tunnels at the last notice, by kind, then by index."""
        return self.tables.tunnels

    def settle(self) -> None:
        """Forget the tunnels that were replaced: all drops of their time are judged."""
        self.before = None

    def traffic(self, ifindex: int) -> Traffic | None:
        """Read what a tunnel has carried so far; None when it is gone."""
        link = self._links.get(ifindex)
        if link is None:
            return None
        # No notification tells of a change to a tunnel that is down (netdev_state_change() of
        # net/core/dev.c); to see it here, by chance, is better than never.
        known, kind = self._known.get(ifindex), KINDS.get(link.kind or "")
        if known and (kind is None or self._tunnel(link, kind) != known):
            self._stale.add(ifindex)
        return self._traffic(link)

    def counters(self, ifindex: int) -> dict[str, int] | None:
        """Read all counters of a link (struct rtnl_link_stats64); None when it is gone."""
        link = self._links.get(ifindex)
        return None if link is None else link.counters()

    def inside_addresses(self, ifindex: int) -> tuple[Address, Address] | None:
        """Return the device's own address and its peer's; None where there is no such pair."""
        for message in self._iproute.get_addr(index=ifindex):
            local, peer = message.get_attr("IFA_LOCAL"), message.get_attr("IFA_ADDRESS")
            if local and peer and local != peer:
                return ip_address(local), ip_address(peer)
        return None

    def addresses(self, ifindex: int) -> Sequence[Address]:
        """Return the addresses of a device."""
        told = self._iproute.get_addr(index=ifindex)
        own = (m.get_attr("IFA_LOCAL") or m.get_attr("IFA_ADDRESS") for m in told)
        return [ip_address(address) for address in own if address]

    def route(
        self, remote: Address, source: Address | None = None, device: int | None = None
    ) -> Route:
        """Ask the kernel for the way to an address, from an address and by a device where given."""
        route = ask_route(self._iproute, self._links, remote, device, source)
        tunnel = self._known.get(route.device or 0)
        if tunnel is None and route.error is None:
            return route
        local = source or (tunnel.local if tunnel else None)
        detour = find_detour(self._iproute, self._links, remote, local, self._known)
        return replace(route, detour=detour)

    def native_xdp(self) -> list[str]:
        """Return the names of devices with an XDP program of the driver's or the card's."""
        return [link.name for link in self._links.dump() if link.has_native_xdp]

    def generic_xdp(self, ifindex: int) -> int | None:
        """Return the id of the generic XDP program on a device, if it has one."""
        link = self._links.get(ifindex)
        return link.generic_xdp if link else None

    def device(self, ifindex: int) -> Device | None:
        """Return the state of a device; None when there is none, or not any more."""
        link = self._links.get(ifindex)
        if link is None:
            return None
        master = self._links.get(link.master) if link.master else link
        vrf = master if master and master.kind == "vrf" else None
        return Device(
            link.index,
            link.name,
            up=bool(link.flags & IFF_UP),
            carrier=bool(link.flags & IFF_RUNNING),
            vrf=vrf.name if vrf else None,
            vrf_ifindex=vrf.index if vrf else None,
        )

    def holder(self, address: Address) -> int | None:
        """Return the index of the device that has an address, whatever its VRF."""
        for message in self._iproute.get_addr(family=AF_OF_VERSION[address.version]):
            own = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            if own and ip_address(own) == address:
                return int(message["index"])
        return None

    def neighbour(self, ifindex: int, address: Address) -> Address | None:
        """Return where on the underlay a neighbour on a tunnel lives, if anybody said it."""
        with entered(self.namespace):
            return link_layer_address(ifindex, address)

    def refusing_rule(self, remote: Address, source: Address | None) -> RefusingRule | None:
        """Return the rule by which the way to an address is refused, but for the main table."""
        return find_refusing_rule(self._iproute, remote, source)

    def link_name(self, ifindex: int) -> str | None:
        """Return the name of a link; None when there is none, or not any more."""
        if ifindex not in self._names:
            link = self._links.get(ifindex)
            if link is None:
                return None
            self._names[ifindex] = link.name
        return self._names[ifindex]

    def link_index(self, name: str) -> int | None:
        """Return the index of a link by its name."""
        self._refresh_if_stale()
        return next((index for index, known in self._names.items() if known == name), None)

    def close(self) -> None:
        """Close all sockets."""
        self._changes.close()
        self._links.close()
        if "_iproute" in self.__dict__:
            self._iproute.close()

    @cached_property
    def _iproute(self) -> "IPRoute":
        with entered(self.namespace):
            return open_iproute()

    def _refresh_if_stale(self) -> None:
        if self._stale or self._all_stale:
            self._refresh()

    def _refresh(self) -> None:
        """Read what is stale from the kernel, and make the tables anew."""
        if self._all_stale or len(self._stale) > WORTH_A_DUMP * len(self._names):
            links = self._links.dump(self._names)
            stale = set(self._names)
        else:
            links = [link for index in self._stale if (link := self._links.get(index))]
            stale = self._stale
        gone = stale - {link.index for link in links}
        # Before the tunnels, which are told the names of the links that they are bound to.
        self._names.update((link.index, link.name) for link in links)
        for index in gone:
            for kept in (self._names, self._known, self._received_at_start):
                kept.pop(index, None)
        self._bound_elsewhere -= stale
        self._bound_elsewhere |= {link.index for link in links if link.is_bound_elsewhere}
        for link in links:
            if kind := KINDS.get(link.kind or ""):
                tunnel = self._tunnel(link, kind)
                # One that did not change stays the same object: `before` costs no memory then.
                if self._known.get(link.index) != tunnel:
                    self._known[link.index] = tunnel
                self._received_at_start.setdefault(link.index, self._traffic(link).received)
            else:
                # An index that was another link's may have been a tunnel's.
                self._known.pop(link.index, None)
        for index, tunnel in self._known.items():
            name = self._names.get(tunnel.link)
            # Links have other names in another namespace.
            if tunnel.link and tunnel.link_name != name and index not in self._bound_elsewhere:
                self._known[index] = replace(tunnel, link_name=name)
        self._stale = set()
        self._all_stale = False
        tunnels = tuple(sorted(self._known.values(), key=place_of))
        if tunnels != self._tables.tunnels:
            self.before, self._tables = self._tables, Tables(tunnels)

    def _tunnel(self, link: Link, kind: Kind) -> Tunnel:
        return read_tunnel(link, kind, self.namespace.inode, self._names)

    def _traffic(self, link: Link) -> Traffic:
        counters = link.counters()
        received = counters["rx_packets"]
        at_start = self._received_at_start.get(link.index, received)
        return Traffic(received, counters["tx_packets"], received - at_start)
