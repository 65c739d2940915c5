# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel keeps of neighbours: where the next hop of a tunnel to anywhere lives."""

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from struct import Struct

from gretrace.host.asking import Asking
from gretrace.host.framing import attribute, attributes_in, to_number
from gretrace.model import Address

# uapi/linux/rtnetlink.h and uapi/linux/neighbour.h
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
NDA_DST, NDA_LLADDR, NDA_IFINDEX = 1, 2, 8
NUD_INCOMPLETE, NUD_FAILED, NUD_NOARP = 0x01, 0x20, 0x40
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
    body += attribute(NDA_IFINDEX, to_number(ifindex))
    with Asking() as asking:
        for kind, _, message in asking.dump(RTM_GETNEIGH, body):
            if kind != RTM_NEWNEIGH:
                continue
            _, index, state, _, _ = NEIGHBOUR.unpack_from(message)
            found = attributes_in(message, NEIGHBOUR.size)
            if index != ifindex or found.get(NDA_DST) != address.packed:
                continue
            if state & (NUD_INCOMPLETE | NUD_FAILED | NUD_NOARP):
                return None
            with suppress(KeyError):
                return ADDRESSES[len(found[NDA_LLADDR])](found[NDA_LLADDR])
            return None
    return None
