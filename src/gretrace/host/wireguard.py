# SPDX-License-Identifier: GPL-2.0-only
"""The peers of a device of WireGuard, by generic netlink.

Keys are in the answer that nobody else should have; they are passed over.
"""

import time
from base64 import b64encode
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from struct import Struct

from gretrace.host.asking import NLMSG_ERROR, Asking
from gretrace.host.framing import attribute, attributes_in, entries_in, number_in, to_number
from gretrace.host.namespaces import Namespace, entered
from gretrace.kernel.wireguard import Network, Peer, WireGuard
from gretrace.model import Address

NETLINK_GENERIC = 16
_GENERIC = Struct("=BBxx")  # struct genlmsghdr
# uapi/linux/genetlink.h
GENL_ID_CTRL, CTRL_CMD_GETFAMILY = 0x10, 3
CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 1, 2
# uapi/linux/wireguard.h
WG_CMD_GET_DEVICE, WG_GENL_VERSION = 0, 1
WGDEVICE_A_IFINDEX, WGDEVICE_A_PEERS = 1, 8
WGPEER_A_PUBLIC_KEY, WGPEER_A_ENDPOINT, WGPEER_A_HANDSHAKE, WGPEER_A_ALLOWEDIPS = 1, 4, 6, 9
WGALLOWEDIP_A_IPADDR, WGALLOWEDIP_A_CIDR_MASK = 2, 3
# A concentrator has thousands of peers, a router some.
NETWORKS_AT_MOST, SECONDS_AT_MOST = 4096, 1.0


def read_wireguard(namespace: Namespace, ifindex: int) -> WireGuard | None:
    """Read the peers of a device; None where it is none of WireGuard, or may not be asked.

    Raises PrerequisiteError when the namespace cannot be entered.
    """
    with entered(namespace):
        asking = Asking(NETLINK_GENERIC)
    with asking:
        family = _family(asking)
        if family is None:
            return None
        body = _GENERIC.pack(WG_CMD_GET_DEVICE, WG_GENL_VERSION)
        body += attribute(WGDEVICE_A_IFINDEX, to_number(ifindex))
        peers: dict[str, Peer] = {}
        is_whole, end = True, time.monotonic() + SECONDS_AT_MOST
        for kind, _, message in asking.dump(family, body):
            if kind == NLMSG_ERROR:
                return None
            if kind == family:
                add_peers(peers, message)
            known = sum(1 + len(peer.allowed) for peer in peers.values())
            if known > NETWORKS_AT_MOST or time.monotonic() > end:
                is_whole = False
                break
        return WireGuard(tuple(peers.values()), is_whole)


def add_peers(peers: dict[str, Peer], message: bytes) -> None:
    """Add the peers of one message of the dump; one with many networks goes on in the next."""
    device = attributes_in(message, _GENERIC.size)
    for _, entry in entries_in(device.get(WGDEVICE_A_PEERS, b"")):
        told = attributes_in(entry)
        key = b64encode(told.get(WGPEER_A_PUBLIC_KEY, b"")).decode()
        allowed = tuple(_networks(told.get(WGPEER_A_ALLOWEDIPS, b"")))
        known = peers.get(key)
        peers[key] = Peer(
            key=key,
            endpoint=known.endpoint if known else _endpoint(told.get(WGPEER_A_ENDPOINT, b"")),
            allowed=(*known.allowed, *allowed) if known else allowed,
            handshake=known.handshake if known else _seconds(told.get(WGPEER_A_HANDSHAKE, b"")),
        )


def _networks(nested: bytes) -> Iterator[Network]:
    for _, entry in entries_in(nested):
        told = attributes_in(entry)
        packed, bits = told.get(WGALLOWEDIP_A_IPADDR, b""), told.get(WGALLOWEDIP_A_CIDR_MASK, b"")
        if len(packed) in (4, 16) and len(bits) == 1 and bits[0] <= 8 * len(packed):
            yield ip_network((ip_address(packed), bits[0]), strict=False)


def _endpoint(address: bytes) -> Address | None:
    """Read a struct sockaddr_in or sockaddr_in6."""
    if len(address) == 16:
        return IPv4Address(address[4:8])
    return IPv6Address(address[8:24]) if len(address) == 28 else None


def _seconds(timespec: bytes) -> int:
    """Read the seconds of a struct __kernel_timespec."""
    return number_in(timespec[:8])


def _family(asking: Asking) -> int | None:
    body = _GENERIC.pack(CTRL_CMD_GETFAMILY, 1) + attribute(CTRL_ATTR_FAMILY_NAME, b"wireguard\0")
    kind, message = asking.get(GENL_ID_CTRL, body)
    told = attributes_in(message, _GENERIC.size)
    if kind != GENL_ID_CTRL or CTRL_ATTR_FAMILY_ID not in told:
        return None
    return number_in(told[CTRL_ATTR_FAMILY_ID])
