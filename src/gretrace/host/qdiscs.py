# SPDX-License-Identifier: GPL-2.0-only
"""Which devices have a clsact qdisc, so that of thousands only those few need be asked for more."""

import os
import socket
from struct import Struct

from gretrace.host.framing import MESSAGE, attributes_in, messages
from gretrace.host.netlink import BUFFER, ERROR, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR

# uapi/linux/rtnetlink.h
RTM_NEWQDISC, RTM_GETQDISC, TCA_KIND = 36, 38, 1
QDISC = Struct("=BxxxiIII")  # struct tcmsg


def devices_with_clsact() -> set[int]:
    """Return their indexes, in the namespace that the caller is in.

    Raises OSError when the kernel cannot tell.
    """
    found: set[int] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        asking.bind((0, 0))
        length, flags = MESSAGE.size + QDISC.size, NLM_F_REQUEST | NLM_F_DUMP
        asking.send(MESSAGE.pack(length, RTM_GETQDISC, flags, 1, 0) + QDISC.pack(0, 0, 0, 0, 0))
        while True:
            for kind, _, _, message in messages(asking.recv(BUFFER)):
                if kind == NLMSG_DONE:
                    return found
                if kind == NLMSG_ERROR:
                    code = -ERROR.unpack_from(message)[0]
                    raise OSError(code, os.strerror(code))
                attributes = attributes_in(message, QDISC.size)
                if kind == RTM_NEWQDISC and attributes.get(TCA_KIND) == b"clsact\0":
                    found.add(QDISC.unpack_from(message)[1])
