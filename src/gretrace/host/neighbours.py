# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel keeps of neighbours: where the next hop of a tunnel to anywhere lives."""

import socket
import sys
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from struct import Struct

from gretrace.host.framing import MESSAGE, attributes_in, messages
from gretrace.host.netlink import BUFFER, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR
from gretrace.model import Address

# uapi/linux/rtnetlink.h and uapi/linux/neighbour.h
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
NDA_DST, NDA_LLADDR, NDA_IFINDEX = 1, 2, 8
NUD_INCOMPLETE, NUD_FAILED, NUD_NOARP = 0x01, 0x20, 0x40
_ATTRIBUTE = Struct("=HH")  # struct nlattr
NEIGHBOUR = Struct("=BxxxiHBB")  # struct ndmsg
AF_INET, AF_INET6 = 2, 10
ADDRESSES: dict[int, type[Address]] = {4: IPv4Address, 16: IPv6Address}


def link_layer_address(ifindex: int, address: Address) -> Address | None:
    """Return at which address of the underlay a neighbour on a tunnel lives, if that was told.

    Asked in the namespace that the caller is in. An entry that the kernel made by itself
    (NOARP), or that nobody answered for, tells nothing.
    """
    family = AF_INET if address.version == 4 else AF_INET6
    body = NEIGHBOUR.pack(family, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(8, NDA_IFINDEX) + ifindex.to_bytes(4, sys.byteorder)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        asking.bind((0, 0))
        asking.send(
            MESSAGE.pack(MESSAGE.size + len(body), RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
            + body
        )
        while True:
            for kind, _, _, message in messages(asking.recv(BUFFER)):
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    return None
                _, index, state, _, _ = NEIGHBOUR.unpack_from(message)
                found = attributes_in(message, NEIGHBOUR.size)
                if index != ifindex or found.get(NDA_DST) != address.packed:
                    continue
                if state & (NUD_INCOMPLETE | NUD_FAILED | NUD_NOARP):
                    return None
                with suppress(KeyError):
                    return ADDRESSES[len(found[NDA_LLADDR])](found[NDA_LLADDR])
                return None
