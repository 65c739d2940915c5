# SPDX-License-Identifier: GPL-2.0-only
"""A device as the port of a bridge: its state, and the VLANs that it lets in."""

import os
import socket
import sys
from collections.abc import Iterator
from struct import Struct

from gretrace.host.framing import ATTRIBUTE, MESSAGE, NLA_TYPE_MASK, attributes_in, messages
from gretrace.host.namespaces import Namespace, entered
from gretrace.host.netlink import (
    BUFFER,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_LINKINFO,
    IFLA_MASTER,
    INFO,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    RTM_GETLINK,
    RTM_NEWLINK,
)
from gretrace.model import BridgePort

# uapi/linux/if_link.h
IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 4, 5
IFLA_BRPORT_STATE = 1
IFLA_BR_STP_STATE, IFLA_BR_VLAN_FILTERING = 5, 7
# uapi/linux/rtnetlink.h and uapi/linux/if_bridge.h (v5.6)
RTM_NEWVLAN, RTM_GETVLAN = 112, 114
BRIDGE_VLANDB_ENTRY = 1
BRIDGE_VLANDB_ENTRY_INFO, BRIDGE_VLANDB_ENTRY_RANGE = 1, 2
BRIDGE_VLAN_INFO_PVID = 1 << 1
_VLANS = Struct("=BxxxI")  # struct br_vlan_msg
_VLAN = Struct("=HH")  # struct bridge_vlan_info: flags, VLAN
AF_BRIDGE = 7
RANGES_AT_MOST = 4096  # as many as there are VLANs


def read_port(namespace: Namespace, ifindex: int) -> BridgePort | None:
    """Read a device as the port of a bridge; None where it is none.

    Raises PrerequisiteError when the namespace cannot be entered.
    """
    with entered(namespace):
        asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    with asking:
        asking.bind((0, 0))
        port = _link(asking, ifindex)
        info = attributes_in(port.get(IFLA_LINKINFO, b""))
        if info.get(IFLA_INFO_SLAVE_KIND, b"").rstrip(b"\0") != b"bridge":
            return None
        state = attributes_in(info.get(IFLA_INFO_SLAVE_DATA, b"")).get(IFLA_BRPORT_STATE, b"\0")
        bridge = _link(asking, _number(port.get(IFLA_MASTER, b"")))
        told = attributes_in(attributes_in(bridge.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_DATA, b""))
        if IFLA_IFNAME not in bridge:
            return None
        vlans, pvid = _vlans(asking, ifindex)
        return BridgePort(
            bridge=os.fsdecode(bridge[IFLA_IFNAME].rstrip(b"\0")),
            state=state[0],
            has_stp=bool(_number(told.get(IFLA_BR_STP_STATE, b""))),
            filters=bool(_number(told.get(IFLA_BR_VLAN_FILTERING, b""))),
            vlans=vlans,
            pvid=pvid,
        )


def _link(asking: socket.socket, ifindex: int) -> dict[int, bytes]:
    """Return the attributes of a link; none where there is none."""
    body = INFO.pack(0, 0, ifindex, 0, 0)
    for kind, message in _ask(asking, RTM_GETLINK, NLM_F_REQUEST, body):
        return attributes_in(message, INFO.size) if kind == RTM_NEWLINK else {}
    return {}


def _vlans(asking: socket.socket, ifindex: int) -> tuple[tuple[tuple[int, int], ...], int | None]:
    """Return the VLANs of a port, and that of frames without a tag."""
    found: list[tuple[int, int]] = []
    pvid = None
    body = _VLANS.pack(AF_BRIDGE, ifindex)
    for kind, message in _ask(asking, RTM_GETVLAN, NLM_F_REQUEST | NLM_F_DUMP, body):
        if kind != RTM_NEWVLAN:
            break
        for flags, first, last in _entries(message):
            found.append((first, last))
            pvid = first if flags & BRIDGE_VLAN_INFO_PVID else pvid
        if len(found) > RANGES_AT_MOST:
            break
    return tuple(found), pvid


def _entries(message: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield flags, first and last VLAN of each entry, which all have the same type."""
    at = _VLANS.size
    while at + ATTRIBUTE.size <= len(message):
        length, kind = ATTRIBUTE.unpack_from(message, at)
        if not ATTRIBUTE.size <= length <= len(message) - at:
            return
        entry = attributes_in(message[at + ATTRIBUTE.size : at + length])
        info = entry.get(BRIDGE_VLANDB_ENTRY_INFO, b"")
        if kind & NLA_TYPE_MASK == BRIDGE_VLANDB_ENTRY and len(info) >= _VLAN.size:
            flags, first = _VLAN.unpack_from(info)
            yield flags, first, _number(entry.get(BRIDGE_VLANDB_ENTRY_RANGE, b"")) or first
        at += (length + 3) & ~3


def _ask(asking: socket.socket, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and body of each message of the answer."""
    asking.send(MESSAGE.pack(MESSAGE.size + len(body), kind, flags, kind, 0) + body)
    while True:
        for told, _, sequence, message in messages(asking.recv(BUFFER)):
            # Else it is what was left of an answer that nobody waited for.
            if sequence != kind:
                continue
            yield told, message
            if told in (NLMSG_DONE, NLMSG_ERROR) or not flags & NLM_F_DUMP:
                return


def _number(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)
