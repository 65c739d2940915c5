# SPDX-License-Identifier: GPL-2.0-only
"""The tc filters of a device that can drop packets."""

import time
from collections.abc import Iterator
from struct import Struct

from gretrace.host.asking import NLMSG_DONE, NLMSG_ERROR, Asking
from gretrace.host.framing import attributes_in, entries_in, number_in
from gretrace.host.namespaces import Namespace, entered
from gretrace.host.qdiscs import QDISC, TCA_KIND
from gretrace.model import Filter, Program

# uapi/linux/rtnetlink.h and uapi/linux/pkt_sched.h
RTM_NEWTFILTER, RTM_GETTFILTER = 44, 46
TCA_OPTIONS, TCA_CHAIN = 2, 11
# TC_H_MAKE(TC_H_CLSACT, ..), as iproute2 asks for either qdisc, clsact or ingress.
PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
# uapi/linux/pkt_cls.h: which option of a filter has its actions.
ACTIONS = {"basic": 3, "bpf": 1, "flower": 3, "fw": 4, "matchall": 2, "route": 6, "u32": 7}
TCA_BPF_NAME, TCA_BPF_FLAGS, TCA_BPF_ID = 7, 8, 11
TCA_BPF_FLAG_ACT_DIRECT = 1
TCA_ACT_KIND, TCA_ACT_OPTIONS, TCA_ACT_STATS = 1, 2, 4
TCA_GACT_PARMS, TCA_POLICE_TBF, TCA_ACT_BPF_NAME, TCA_ACT_BPF_ID = 2, 1, 6, 8
TCA_STATS_QUEUE = 3
TC_ACT_SHOT = 2
_QUEUE = Struct("=IIIII")  # struct gnet_stats_queue: the third is the drops
_GACT = Struct("=IIi")  # struct tc_gact: index, capab, action
_POLICE = Struct("=Ii")  # struct tc_police: index, action
# A router has some; a stranger could make them without end.
MOST, PATIENCE = 256, 0.5


def read_filters(namespace: Namespace, ifindex: int, direction: str) -> list[Filter] | None:
    """Read the filters that can drop at the ingress or egress of a device.

    None where there are more than MOST, or it takes longer than PATIENCE seconds. Raises
    PrerequisiteError when the namespace cannot be entered.
    """
    with entered(namespace):
        asking = Asking()
    end = time.monotonic() + PATIENCE
    found: list[Filter] = []
    body = QDISC.pack(0, ifindex, 0, PARENTS[direction], 0)
    with asking:
        for seen, (kind, _, message) in enumerate(asking.dump(RTM_GETTFILTER, body), 1):
            if kind in (NLMSG_DONE, NLMSG_ERROR):
                break
            if kind == RTM_NEWTFILTER:
                found += droppers_in(message)
            if seen > MOST or time.monotonic() > end:
                return None
    return found


def droppers_in(message: bytes) -> Iterator[Filter]:
    """Yield the filter of a message once for each of its actions that can drop."""
    if len(message) < QDISC.size:
        return
    *_, handle, _, info = QDISC.unpack_from(message)
    told = attributes_in(message, QDISC.size)
    kind = told.get(TCA_KIND, b"").rstrip(b"\0").decode("ascii", "replace")
    options = attributes_in(told.get(TCA_OPTIONS, b""))
    pref, chain = info >> 16, number_in(told.get(TCA_CHAIN, b""))
    if not handle:
        # The list that the filters of a pref are in.
        return
    if kind == "bpf" and number_in(options.get(TCA_BPF_FLAGS, b"")) & TCA_BPF_FLAG_ACT_DIRECT:
        program = _program(options.get(TCA_BPF_ID, b""), options.get(TCA_BPF_NAME, b""))
        yield Filter(pref, handle, kind, f"of its program {program}", chain)
    for action, dropped in _actions(options.get(ACTIONS.get(kind, 0), b"")):
        yield Filter(pref, handle, kind, action, chain, dropped)


def _actions(listed: bytes) -> Iterator[tuple[str, int | None]]:
    """Yield each action that can drop, and how many packets it has."""
    for _, entry in entries_in(listed):
        told = attributes_in(entry)
        kind = told.get(TCA_ACT_KIND, b"").rstrip(b"\0")
        options = attributes_in(told.get(TCA_ACT_OPTIONS, b""))
        queue = attributes_in(told.get(TCA_ACT_STATS, b"")).get(TCA_STATS_QUEUE, b"")
        dropped = _QUEUE.unpack_from(queue)[2] if len(queue) >= _QUEUE.size else None
        gact, police = options.get(TCA_GACT_PARMS, b""), options.get(TCA_POLICE_TBF, b"")
        if kind == b"gact" and len(gact) >= _GACT.size:
            if _GACT.unpack_from(gact)[2] == TC_ACT_SHOT:
                yield "drop", dropped
        elif kind == b"police" and len(police) >= _POLICE.size:
            if _POLICE.unpack_from(police)[1] == TC_ACT_SHOT:
                yield "police, which drops what exceeds its rate", dropped
        elif kind == b"bpf":
            name, number = options.get(TCA_ACT_BPF_NAME, b""), options.get(TCA_ACT_BPF_ID, b"")
            yield f"of the program {_program(number, name)}", dropped


def _program(number: bytes, name: bytes) -> Program:
    return Program(number_in(number), name.rstrip(b"\0").decode("ascii", "replace") or None)
