# SPDX-License-Identifier: GPL-2.0-only
"""Whether the kernel has a route for a label of MPLS."""

import errno
from struct import Struct

from gretrace.host.asking import NLMSG_ERROR, Asking, refusal
from gretrace.host.framing import attribute
from gretrace.host.namespaces import Namespace, entered

# linux/socket.h and uapi/linux/rtnetlink.h
AF_MPLS = 28
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTA_DST = 1
LABEL_BITS = 20
LAST = 0x100  # the only label that is asked for (nla_get_labels() of net/mpls/af_mpls.c)
_ROUTE = Struct("=BBBBBBBBI")  # struct rtmsg
# No route for it; none can be, beyond net.mpls.platform_labels or among those that are reserved.
NONE = (errno.ENETUNREACH, errno.EINVAL)


def has_label(namespace: Namespace, label: int) -> bool | None:
    """Ask for the route of a label; None where the kernel does not say, as one without MPLS.

    Raises PrerequisiteError when the namespace cannot be entered.
    """
    body = _ROUTE.pack(AF_MPLS, LABEL_BITS, 0, 0, 0, 0, 0, 0, 0)
    body += attribute(RTA_DST, (label << 12 | LAST).to_bytes(4, "big"))
    with entered(namespace):
        asking = Asking()
    with asking:
        kind, message = asking.get(RTM_GETROUTE, body)
    if kind == NLMSG_ERROR:
        return False if refusal(message).errno in NONE else None
    return kind == RTM_NEWROUTE or None
