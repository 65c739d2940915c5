# SPDX-License-Identifier: GPL-2.0-only
"""GRE links in netlink: IFLA_GRE_* of linux/if_tunnel.h, and links read without pyroute2.

pyroute2 takes half a millisecond to decode a link, and still a sixth of one where it is told
of three attributes only. Where there may be thousands of links they are therefore read here:
some 15 microseconds each.
"""

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from struct import Struct

from gretrace.host.asking import BUFFER, NLM_F_DUMP_INTR, NLMSG_ERROR, Asking, refusal
from gretrace.host.framing import attributes_in, messages
from gretrace.kernel.kinds import KINDS

# The attributes in the order of the kernel's enum, with pyroute2's type of each.
ADDRESS = "address of the family"
ATTRIBUTES = (
    ("IFLA_GRE_UNSPEC", "none"),
    ("IFLA_GRE_LINK", "uint32"),
    ("IFLA_GRE_IFLAGS", "be16"),
    ("IFLA_GRE_OFLAGS", "be16"),
    ("IFLA_GRE_IKEY", "be32"),
    ("IFLA_GRE_OKEY", "be32"),
    ("IFLA_GRE_LOCAL", ADDRESS),
    ("IFLA_GRE_REMOTE", ADDRESS),
    ("IFLA_GRE_TTL", "uint8"),
    ("IFLA_GRE_TOS", "uint8"),
    ("IFLA_GRE_PMTUDISC", "uint8"),
    ("IFLA_GRE_ENCAP_LIMIT", "uint8"),
    ("IFLA_GRE_FLOWINFO", "be32"),
    ("IFLA_GRE_FLAGS", "uint32"),
    ("IFLA_GRE_ENCAP_TYPE", "uint16"),
    ("IFLA_GRE_ENCAP_FLAGS", "uint16"),
    ("IFLA_GRE_ENCAP_SPORT", "be16"),
    ("IFLA_GRE_ENCAP_DPORT", "be16"),
    ("IFLA_GRE_COLLECT_METADATA", "flag"),
    ("IFLA_GRE_IGNORE_DF", "uint8"),
    ("IFLA_GRE_FWMARK", "uint32"),
    ("IFLA_GRE_ERSPAN_INDEX", "uint32"),
    ("IFLA_GRE_ERSPAN_VER", "uint8"),
    ("IFLA_GRE_ERSPAN_DIR", "uint8"),
    ("IFLA_GRE_ERSPAN_HWID", "uint16"),
)

GRE_ATTRIBUTES = {number: name for number, (name, _) in enumerate(ATTRIBUTES)}

# uapi/linux/if_link.h
IFLA_IFNAME, IFLA_MTU, IFLA_LINKINFO, IFLA_STATS64, IFLA_LINK_NETNSID = 3, 4, 18, 23, 37
IFLA_MASTER = 10
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IFLA_XDP, IFLA_XDP_ATTACHED, IFLA_XDP_PROG_ID, IFLA_XDP_SKB_PROG_ID = 43, 2, 4, 6
XDP_ATTACHED_SKB = 2  # generic: of a packet that is one already
# struct rtnl_link_stats64; the last two are of v4.6 and v5.19.
COUNTERS = (
    *("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors"),
    *("rx_dropped", "tx_dropped", "multicast", "collisions", "rx_length_errors"),
    *("rx_over_errors", "rx_crc_errors", "rx_frame_errors", "rx_fifo_errors"),
    *("rx_missed_errors", "tx_aborted_errors", "tx_carrier_errors", "tx_fifo_errors"),
    *("tx_heartbeat_errors", "tx_window_errors", "rx_compressed", "tx_compressed"),
    *("rx_nohandler", "rx_otherhost_dropped"),
)

# uapi/linux/rtnetlink.h
RTM_NEWLINK, RTM_GETLINK = 16, 18
RTMGRP_LINK = 1
INFO = Struct("=BxHiII")  # struct ifinfomsg
# The default has room for some forty changes; two are told of each tunnel that is made.
CHANGES_KEPT = 1 << 23
SO_RCVBUFFORCE, SO_NETNS_COOKIE = 33, 71  # asm-generic/socket.h
DUMPS = 3


@dataclass(slots=True)
class Link:
    """A link, as far as it is read; `kind` is None for a link that is no tunnel or the like."""

    index: int
    flags: int
    name: str
    mtu: int
    kind: str | None
    data: bytes  # IFLA_INFO_DATA of a GRE link
    is_bound_elsewhere: bool  # what IFLA_GRE_LINK names is in another namespace
    statistics: bytes
    xdp_program: int | None = None  # its id
    generic_xdp: int | None = None  # the id of that in generic mode
    has_native_xdp: bool = False
    master: int | None = None  # ifindex of the bridge, bond or VRF that it is enslaved to

    def gre(self) -> dict[str, bytes]:
        """Return the attributes of a GRE link, as far as GRE_ATTRIBUTES names them."""
        found = attributes_in(self.data)
        return {GRE_ATTRIBUTES[n]: value for n, value in found.items() if n in GRE_ATTRIBUTES}

    def counters(self) -> dict[str, int]:
        """Return struct rtnl_link_stats64, as far as this kernel has it."""
        count = min(len(COUNTERS), len(self.statistics) // 8)
        return dict(zip(COUNTERS, Struct(f"={count}Q").unpack_from(self.statistics), strict=False))


class Links:
    """A socket that asks for links, in the namespace in which it was made."""

    def __init__(self) -> None:
        self._asking = Asking()

    def get(self, index: int) -> Link | None:
        """Ask for one link; None when there is none, or not any more."""
        kind, message = self._asking.get(RTM_GETLINK, link_request(index))
        return _parse_link(message) if kind == RTM_NEWLINK else None

    def dump(self, known: Iterable[int] = ()) -> list[Link]:
        """Read all links; `known` are the indexes of those that were there before.

        Raises OSError when the kernel cannot tell them.
        """
        found: dict[int, Link] = {}
        expected = set(known)
        for _ in range(DUMPS):
            expected |= found.keys()
            found, is_whole = self._dump_once()
            if is_whole:
                return list(found.values())
        # Links come and go all the time, and may have hidden others from the dump.
        asked = [self.get(index) for index in expected - found.keys()]
        return [*found.values(), *(link for link in asked if link)]

    def dump_some(self, at_most: int, is_late: Callable[[], bool]) -> list[Link] | None:
        """Read all links; None when there are more than so many, or it `is_late` meanwhile.

        Raises OSError when the kernel cannot tell them. One that comes or goes meanwhile may hide
        another.
        """
        found = []
        for link, _ in self._each():
            if link:
                found.append(link)
            if len(found) > at_most or is_late():
                return None
        return found

    def _dump_once(self) -> tuple[dict[int, Link], bool]:
        found, is_whole = {}, True
        for link, is_sound in self._each():
            is_whole = is_whole and is_sound
            if link:
                found[link.index] = link
        return found, is_whole

    def _each(self) -> Iterator[tuple[Link | None, bool]]:
        """Yield each link of a dump, and whether no change has made the dump unsound by then."""
        for kind, flags, message in self._asking.dump(RTM_GETLINK, link_request()):
            if kind == NLMSG_ERROR:
                raise refusal(message)
            link = _parse_link(message) if kind == RTM_NEWLINK else None
            yield link, not flags & NLM_F_DUMP_INTR

    def cookie(self) -> int:
        """Return the low 32 bits of what tells the namespace from all that there ever were.

        0 where the kernel does not tell (SO_NETNS_COOKIE, v5.14).
        """
        try:
            told = self._asking.socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
        except OSError:
            return 0
        return int.from_bytes(told, sys.byteorder) & 0xFFFFFFFF

    def close(self) -> None:
        """Close the socket."""
        self._asking.close()


def link_request(index: int = 0) -> bytes:
    """Return what asks for a link; in a dump, for all."""
    return INFO.pack(0, 0, index, 0, 0)


def own_cookie() -> int:
    """Return Links.cookie() of the namespace that this process is in."""
    links = Links()
    try:
        return links.cookie()
    finally:
        links.close()


def xdp_program(index: int) -> int | None:
    """Return the id of the XDP program on a link of the caller's namespace, if there is one.

    bpf_xdp_query_id() of libbpf asks for all links, of which each costs some microseconds.
    """
    links = Links()
    try:
        link = links.get(index)
    finally:
        links.close()
    return link.xdp_program if link else None


class LinkChanges:
    """A socket that tells which links of a namespace changed."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        # Only a matter of speed, and not allowed in a namespace of another user.
        with suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, CHANGES_KEPT)
        self._socket.bind((0, RTMGRP_LINK))

    def fileno(self) -> int:
        """Return a descriptor that is readable once a link changed."""
        return self._socket.fileno()

    def take(self) -> set[int] | None:
        """Return the links that changed since the last call, by index.

        None when notices were lost to a full buffer, so that it may have been any.
        """
        changed: set[int] = set()
        lost = False
        while True:
            try:
                data = self._socket.recv(BUFFER)
            except BlockingIOError:
                return None if lost else changed
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True
            else:
                changed.update(INFO.unpack_from(body)[2] for *_, body in messages(data))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _parse_link(message: bytes) -> Link:
    _, _, index, flags, _ = INFO.unpack_from(message)
    attributes = attributes_in(message, INFO.size)
    info = attributes_in(attributes.get(IFLA_LINKINFO, b""))
    xdp = attributes_in(attributes.get(IFLA_XDP, b""))
    kind = info[IFLA_INFO_KIND].rstrip(b"\0").decode() if IFLA_INFO_KIND in info else None
    return Link(
        index=index,
        flags=flags,
        name=os.fsdecode(attributes[IFLA_IFNAME].rstrip(b"\0")),
        mtu=int.from_bytes(attributes.get(IFLA_MTU, b""), sys.byteorder),
        kind=kind,
        data=info.get(IFLA_INFO_DATA, b"") if kind in KINDS else b"",
        is_bound_elsewhere=IFLA_LINK_NETNSID in attributes,
        statistics=attributes.get(IFLA_STATS64, b""),
        xdp_program=int.from_bytes(xdp.get(IFLA_XDP_PROG_ID, b""), sys.byteorder) or None,
        # Of a device that has one of another mode as well, the modes are told apart.
        generic_xdp=int.from_bytes(
            xdp.get(IFLA_XDP_SKB_PROG_ID, xdp.get(IFLA_XDP_PROG_ID, b"")), sys.byteorder
        )
        or None,
        has_native_xdp=any(
            mode for mode in xdp.get(IFLA_XDP_ATTACHED, b"") if mode != XDP_ATTACHED_SKB
        ),
        master=int.from_bytes(attributes.get(IFLA_MASTER, b""), sys.byteorder) or None,
    )
