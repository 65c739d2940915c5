"""The GRE tunnels of a network namespace, as netlink tells them, and kept fresh."""

import errno
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from pyroute2.iproute import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from gretrace.errors import PrerequisiteError
from gretrace.model import Address, Traffic, Tunnel
from gretrace.namespaces import Namespace, all_namespaces, entered
from gretrace.netlink import KINDS

# net/ipv4/ip_gre.c and net/ipv6/ip6_gre.c make them in every namespace; only their names tell.
FALLBACKS = ("gre0", "gretap0", "erspan0", "ip6gre0")

IFF_UP = 1
RTMGRP_LINK = 1
# uapi/linux/if_tunnel.h, read as big-endian numbers.
GRE_CSUM, GRE_KEY, GRE_SEQ = 0x8000, 0x2000, 0x1000
BACKLOG = 65536


@dataclass(frozen=True, slots=True)
class Route:
    """The device and the source address with which the kernel reaches an address, if it does."""

    device: int | None = None
    source: Address | None = None


class TunnelTable:
    """A snapshot of the tunnels of one namespace that knows when it is out of date.

    Raises PrerequisiteError when the namespace cannot be entered.
    """

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        with entered(namespace):
            self._netlink = IPRoute()
            self._changes = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
            )
            self._changes.bind((0, RTMGRP_LINK))
        self._received_at_start: dict[int, int] = {}
        self._received_at_last_look: dict[int, int] = {}
        self._names: dict[int, str | None] = {}
        self._stale = False
        self._tunnels = [self._tunnel(message) for message in self._dump()]
        self.before: list[Tunnel] | None = None

    def fileno(self) -> int:
        """Return a descriptor that is readable once a link of the namespace changed."""
        return self._changes.fileno()

    def take_notice(self) -> bool:
        """Note, and return, whether a link changed since the last call.

        The socket only rings; what changed is read from the kernel when it is needed, so
        that notifications lost to a full buffer (ENOBUFS) cost nothing.
        """
        changed = False
        while True:
            try:
                self._changes.recv(BACKLOG)
            except BlockingIOError:
                return changed
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
            self._stale = changed = True

    @property
    def tunnels(self) -> list[Tunnel]:
        """The tunnels at the last notice; `before` then holds those that they replaced."""
        if self._stale:
            self._stale = False
            self.before = self._tunnels
            self._names.clear()
            self._tunnels = [self._tunnel(message) for message in self._dump()]
        return self._tunnels

    def settle(self) -> None:
        """Forget the tunnels that were replaced: all drops of their time are judged."""
        self.before = None

    def traffic(self, ifindex: int) -> Traffic | None:
        """Read what a tunnel has carried so far; None when it is gone."""
        message = self._link(ifindex)
        if message is None:
            return None
        traffic = self._traffic(message)
        self._received_at_last_look[ifindex] = traffic.received
        return traffic

    def counters(self, ifindex: int) -> dict[str, int] | None:
        """Read all counters of a link (struct rtnl_link_stats64); None when it is gone."""
        message = self._link(ifindex)
        return None if message is None else dict(message.get_attr("IFLA_STATS64"))

    def inside_addresses(self, ifindex: int) -> tuple[Address, Address] | None:
        """Return the device's own address and its peer's; None where there is no such pair."""
        for message in self._netlink.get_addr(index=ifindex):
            local, peer = message.get_attr("IFA_LOCAL"), message.get_attr("IFA_ADDRESS")
            if local and peer and local != peer:
                return ip_address(local), ip_address(peer)
        return None

    def route(self, remote: Address) -> Route:
        """Ask the kernel for the way to an address."""
        try:
            (message,) = self._netlink.route("get", dst=str(remote))
        except (NetlinkError, ValueError):
            return Route()
        source = message.get_attr("RTA_PREFSRC")
        return Route(message.get_attr("RTA_OIF"), ip_address(source) if source else None)

    def link_name(self, ifindex: int) -> str | None:
        """Return the name of a link; None when there is none, or not any more."""
        if ifindex not in self._names:
            message = self._link(ifindex)
            self._names[ifindex] = None if message is None else message.get_attr("IFLA_IFNAME")
        return self._names[ifindex]

    def link_index(self, name: str) -> int | None:
        """Return the index of a link by its name."""
        found = self._netlink.link_lookup(ifname=name)
        return int(found[0]) if found else None

    def close(self) -> None:
        """Close both sockets."""
        self._changes.close()
        self._netlink.close()

    def _link(self, ifindex: int) -> Any:
        """Ask for one link; None when there is none, or not any more."""
        try:
            (message,) = self._netlink.get_links(ifindex)
        except (NetlinkError, ValueError):
            return None
        return message

    def _dump(self) -> Iterator[Any]:
        for kind in KINDS:
            for message in self._netlink.get_links(kind=kind):
                self._names[message["index"]] = message.get_attr("IFLA_IFNAME")
                self._received_at_start.setdefault(
                    message["index"], self._traffic(message).received
                )
                yield message

    def _tunnel(self, message: Any) -> Tunnel:
        info = message.get_attr("IFLA_LINKINFO")
        data = info.get_attr("IFLA_INFO_DATA")
        iflags, oflags = data.get_attr("IFLA_GRE_IFLAGS"), data.get_attr("IFLA_GRE_OFLAGS")
        name, link = message.get_attr("IFLA_IFNAME"), data.get_attr("IFLA_GRE_LINK") or 0
        return Tunnel(
            name=name,
            ifindex=message["index"],
            netns=self.namespace.inode,
            kind=info.get_attr("IFLA_INFO_KIND"),
            local=_address(data.get_attr("IFLA_GRE_LOCAL")),
            remote=_address(data.get_attr("IFLA_GRE_REMOTE")),
            ikey=data.get_attr("IFLA_GRE_IKEY") if iflags & GRE_KEY else None,
            okey=data.get_attr("IFLA_GRE_OKEY") if oflags & GRE_KEY else None,
            icsum=bool(iflags & GRE_CSUM),
            ocsum=bool(oflags & GRE_CSUM),
            iseq=bool(iflags & GRE_SEQ),
            oseq=bool(oflags & GRE_SEQ),
            link=link,
            link_name=self.link_name(link) if link else None,
            up=bool(message["flags"] & IFF_UP),
            external=bool(data.get_attr("IFLA_GRE_COLLECT_METADATA")),
            fallback=name in FALLBACKS,
            ttl=data.get_attr("IFLA_GRE_TTL") or 0,
            tos=data.get_attr("IFLA_GRE_TOS") or 0,
            pmtudisc=bool(data.get_attr("IFLA_GRE_PMTUDISC")),
            ignore_df=bool(data.get_attr("IFLA_GRE_IGNORE_DF")),
            mtu=message.get_attr("IFLA_MTU") or 0,
        )

    def _traffic(self, message: Any) -> Traffic:
        counters = message.get_attr("IFLA_STATS64")
        received = counters["rx_packets"]
        at_start = self._received_at_start.get(message["index"], received)
        at_last_look = self._received_at_last_look.get(message["index"], at_start)
        return Traffic(
            received, counters["tx_packets"], received - at_start, received - at_last_look
        )


class TunnelTables:
    """The tables of the namespaces that are watched, each opened when it is first needed."""

    def __init__(self, namespaces: Iterable[Namespace], *, find_more: bool) -> None:
        self._namespaces = {namespace.inode: namespace for namespace in namespaces}
        self._find_more = find_more
        self._tables: dict[int, TunnelTable] = {}
        self._unreachable: set[int] = set()

    def open(self, namespace: Namespace) -> TunnelTable:
        """Open the table of a namespace.

        Raises PrerequisiteError when it cannot be entered.
        """
        table = self._tables[namespace.inode] = TunnelTable(namespace)
        return table

    def of(self, inode: int) -> TunnelTable | None:
        """Return the table of a namespace; None when it cannot be found or entered (any more)."""
        if inode not in self._tables and inode not in self._unreachable:
            if inode not in self._namespaces and self._find_more:
                self._namespaces |= {n.inode: n for n in all_namespaces()}
            try:
                self.open(self._namespaces[inode])
            except (KeyError, OSError, PrerequisiteError):
                # Inodes are used again, but not before long; asking each time would cost more.
                self._unreachable.add(inode)
        return self._tables.get(inode)

    def opened(self) -> Iterable[TunnelTable]:
        """Return the tables that are open by now."""
        return self._tables.values()

    def close(self) -> None:
        """Close all tables."""
        for table in self._tables.values():
            table.close()


def _address(text: str | None) -> Address | None:
    address = ip_address(text) if text else None
    return None if address is None or address.is_unspecified else address
