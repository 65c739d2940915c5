# SPDX-License-Identifier: GPL-2.0-only
"""A device as the port of a bridge: its state, and the VLANs that it lets in."""

import os
from collections.abc import Iterator
from struct import Struct

from gretrace.host.asking import Asking
from gretrace.host.framing import attributes_in, entries_in, number_in
from gretrace.host.namespaces import Namespace, entered
from gretrace.host.netlink import (
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_LINKINFO,
    IFLA_MASTER,
    INFO,
    RTM_GETLINK,
    RTM_NEWLINK,
    link_request,
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
        asking = Asking()
    with asking:
        port = _link(asking, ifindex)
        info = attributes_in(port.get(IFLA_LINKINFO, b""))
        if info.get(IFLA_INFO_SLAVE_KIND, b"").rstrip(b"\0") != b"bridge":
            return None
        state = attributes_in(info.get(IFLA_INFO_SLAVE_DATA, b"")).get(IFLA_BRPORT_STATE, b"\0")
        bridge = _link(asking, number_in(port.get(IFLA_MASTER, b"")))
        told = attributes_in(attributes_in(bridge.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_DATA, b""))
        if IFLA_IFNAME not in bridge:
            return None
        vlans, pvid = _vlans(asking, ifindex)
        return BridgePort(
            bridge=os.fsdecode(bridge[IFLA_IFNAME].rstrip(b"\0")),
            state=state[0],
            has_stp=bool(number_in(told.get(IFLA_BR_STP_STATE, b""))),
            filters=bool(number_in(told.get(IFLA_BR_VLAN_FILTERING, b""))),
            vlans=vlans,
            pvid=pvid,
        )


def _link(asking: Asking, ifindex: int) -> dict[int, bytes]:
    """Return the attributes of a link; none where there is none."""
    kind, message = asking.get(RTM_GETLINK, link_request(ifindex))
    return attributes_in(message, INFO.size) if kind == RTM_NEWLINK else {}


def _vlans(asking: Asking, ifindex: int) -> tuple[tuple[tuple[int, int], ...], int | None]:
    """Return the VLANs of a port, and that of frames without a tag."""
    found: list[tuple[int, int]] = []
    pvid = None
    for kind, _, message in asking.dump(RTM_GETVLAN, _VLANS.pack(AF_BRIDGE, ifindex)):
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
    for kind, data in entries_in(message, _VLANS.size):
        entry = attributes_in(data)
        info = entry.get(BRIDGE_VLANDB_ENTRY_INFO, b"")
        if kind == BRIDGE_VLANDB_ENTRY and len(info) >= _VLAN.size:
            flags, first = _VLAN.unpack_from(info)
            yield flags, first, number_in(entry.get(BRIDGE_VLANDB_ENTRY_RANGE, b"")) or first
