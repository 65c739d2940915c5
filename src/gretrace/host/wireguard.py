# SPDX-License-Identifier: GPL-2.0-only
"""The peers of a device of WireGuard, by generic netlink.

Keys are in the answer that nobody else should have; they are passed over.
"""

import socket
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from struct import Struct

from gretrace.host.framing import ATTRIBUTE, MESSAGE, attributes_in, messages
from gretrace.host.namespaces import Namespace, entered
from gretrace.host.netlink import NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR
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
_RECEIVE = 1 << 16
# A concentrator has thousands of peers, a router some.
NETWORKS_AT_MOST, SECONDS_AT_MOST = 4096, 1.0


def read_wireguard(namespace: Namespace, ifindex: int) -> WireGuard | None:
    """Read the peers of a device; None where it is none of WireGuard, or may not be asked.

    Raises PrerequisiteError when the namespace cannot be entered.
    """
    with entered(namespace):
        asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
    with asking:
        asking.bind((0, 0))
        family = _family(asking)
        if family is None:
            return None
        body = _GENERIC.pack(WG_CMD_GET_DEVICE, WG_GENL_VERSION)
        body += ATTRIBUTE.pack(8, WGDEVICE_A_IFINDEX) + ifindex.to_bytes(4, sys.byteorder)
        peers: dict[str, Peer] = {}
        is_whole, end = True, time.monotonic() + SECONDS_AT_MOST
        for kind, message in _ask(asking, family, NLM_F_REQUEST | NLM_F_DUMP, body):
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
    for entry in _nested(device.get(WGDEVICE_A_PEERS, b"")):
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
    for entry in _nested(nested):
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
    return int.from_bytes(timespec[:8], sys.byteorder)


def _nested(data: bytes) -> Iterator[bytes]:
    """Yield what the entries of a list hold, whose types are their numbers or none."""
    at = 0
    while at + ATTRIBUTE.size <= len(data):
        length, _ = ATTRIBUTE.unpack_from(data, at)
        if not ATTRIBUTE.size <= length <= len(data) - at:
            return
        yield data[at + ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _family(asking: socket.socket) -> int | None:
    name = b"wireguard\0"
    body = _GENERIC.pack(CTRL_CMD_GETFAMILY, 1)
    body += ATTRIBUTE.pack(ATTRIBUTE.size + len(name), CTRL_ATTR_FAMILY_NAME) + name + bytes(2)
    for kind, message in _ask(asking, GENL_ID_CTRL, NLM_F_REQUEST, body):
        told = attributes_in(message, _GENERIC.size)
        if kind == GENL_ID_CTRL and CTRL_ATTR_FAMILY_ID in told:
            return int.from_bytes(told[CTRL_ATTR_FAMILY_ID], sys.byteorder)
        return None
    return None


def _ask(asking: socket.socket, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and body of each message of the answer."""
    asking.send(MESSAGE.pack(MESSAGE.size + len(body), kind, flags, kind, 0) + body)
    while True:
        for told, _, sequence, message in messages(asking.recv(_RECEIVE)):
            # Else it is what was left of an answer that nobody waited for.
            if sequence != kind:
                continue
            yield told, message
            if told in (NLMSG_DONE, NLMSG_ERROR) or not flags & NLM_F_DUMP:
                return
