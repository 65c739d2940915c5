# SPDX-License-Identifier: GPL-2.0-only
"""Which devices have a clsact qdisc, so that of thousands only those few need be asked for more."""

from struct import Struct

from gretrace.host.asking import NLMSG_ERROR, Asking, refusal
from gretrace.host.framing import attributes_in

# uapi/linux/rtnetlink.h
RTM_NEWQDISC, RTM_GETQDISC, TCA_KIND = 36, 38, 1
QDISC = Struct("=BxxxiIII")  # struct tcmsg


def devices_with_clsact() -> set[int]:
    """Return their indexes, in the namespace that the caller is in.

    Raises OSError when the kernel cannot tell.
    """
    found: set[int] = set()
    with Asking() as asking:
        for kind, _, message in asking.dump(RTM_GETQDISC, QDISC.pack(0, 0, 0, 0, 0)):
            if kind == NLMSG_ERROR:
                raise refusal(message)
            attributes = attributes_in(message, QDISC.size)
            if kind == RTM_NEWQDISC and attributes.get(TCA_KIND) == b"clsact\0":
                found.add(QDISC.unpack_from(message)[1])
    return found
