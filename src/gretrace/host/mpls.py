# SPDX-License-Identifier: GPL-2.0-only
"""Whether the kernel has a route for a label of MPLS."""

import errno
import socket
from struct import Struct

from gretrace.host.framing import ATTRIBUTE, MESSAGE, messages
from gretrace.host.namespaces import Namespace, entered
from gretrace.host.netlink import BUFFER, NLM_F_REQUEST, NLMSG_ERROR

# linux/socket.h and uapi/linux/rtnetlink.h
AF_MPLS = 28
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTA_DST = 1
LABEL_BITS = 20
LAST = 0x100  # the only label that is asked for (nla_get_labels() of net/mpls/af_mpls.c)
_ROUTE = Struct("=BBBBBBBBI")  # struct rtmsg
_ERROR = Struct("=i")
# No route for it; none can be, beyond net.mpls.platform_labels or among those that are reserved.
NONE = (errno.ENETUNREACH, errno.EINVAL)


def has_label(namespace: Namespace, label: int) -> bool | None:
    """Ask for the route of a label; None where the kernel does not say, as one without MPLS.

    Raises PrerequisiteError when the namespace cannot be entered.
    """
    body = _ROUTE.pack(AF_MPLS, LABEL_BITS, 0, 0, 0, 0, 0, 0, 0)
    body += ATTRIBUTE.pack(8, RTA_DST) + (label << 12 | LAST).to_bytes(4, "big")
    request = MESSAGE.pack(MESSAGE.size + len(body), RTM_GETROUTE, NLM_F_REQUEST, 1, 0)
    with entered(namespace):
        asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    with asking:
        asking.bind((0, 0))
        asking.send(request + body)
        for kind, _, _, message in messages(asking.recv(BUFFER)):
            if kind == NLMSG_ERROR and len(message) >= _ERROR.size:
                return False if -_ERROR.unpack_from(message)[0] in NONE else None
            return kind == RTM_NEWROUTE or None
    return None
