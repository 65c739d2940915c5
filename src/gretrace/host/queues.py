# SPDX-License-Identifier: GPL-2.0-only
"""The qdiscs of a device, with what waits in them and what they let through.

The kernel dumps those of all devices; a qdisc that it makes by itself for a tunnel or a veth
(noqueue) is none of them.
"""

import errno
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from struct import Struct

from gretrace.host.asking import Asking
from gretrace.host.framing import attribute, attributes_in
from gretrace.host.qdiscs import QDISC, RTM_GETQDISC, RTM_NEWQDISC, TCA_KIND
from gretrace.model import Queue, show_handle

# uapi/linux/rtnetlink.h and uapi/linux/pkt_sched.h
RTM_NEWTCLASS, RTM_GETTCLASS = 40, 42
TCA_OPTIONS, TCA_STATS2, TCA_DUMP_INVISIBLE = 2, 7, 10
TCA_STATS_QUEUE = 3
TC_H_ROOT, MAJOR = 0xFFFFFFFF, 0xFFFF0000
# TC_H_INGRESS, of the qdiscs ingress and clsact, in which nothing waits.
INGRESS = 0xFFFFFFF1

STATISTICS = Struct("=III")  # struct gnet_stats_queue: packets and bytes that wait, and drops
NUMBER, LONG = Struct("=I"), Struct("=Q")
# struct tc_ratespec: linklayer, overhead, mpu and rate.
RATE = Struct("=xBHxxHI")
TBF = Struct(f"={RATE.size}s{RATE.size}sIII")  # struct tc_tbf_qopt
HTB = Struct(f"={RATE.size}s{RATE.size}s")  # of struct tc_htb_opt: rate and ceil
TBF_PARMS, TBF_RATE64 = 1, 4
HTB_PARMS, HTB_RATE64, HTB_CEIL64 = 1, 6, 7
CAKE_RATE64 = 2
# PSCHED_TICKS2NS(): of 64 nanoseconds since v2.6.31.
TICK_NS, NANOSECONDS = 64, 10**9
ETHERNET = 1  # TC_LINKLAYER_ETHERNET; 0 is unaware of any
DEEPEST = 16  # classes in classes; htb has 8 levels
# Where the limit is in packets: the attribute that has it, or that the options begin with it.
LIMIT_ATTRIBUTES = {"fq": 1, "fq_codel": 2, "codel": 2, "fq_pie": 1, "pie": 2}
LIMIT_AT = {"pfifo": 0, "bfifo": 0, "pfifo_head_drop": 0, "netem": 4, "sfq": 8}
# What takes a limit alone, and leaves the rest as it is (fq_codel_change() and the like).
CHANGED_ALONE = ("pfifo", "bfifo", "fq", "fq_codel", "codel")
# A router of many customers has a class for each; a stranger could make them without end.
MOST, PATIENCE = 16384, 1.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A qdisc or class as the kernel tells it."""

    ifindex: int
    handle: int
    parent: int
    kind: str
    options: bytes = b""
    statistics: tuple[int, int, int] = (0, 0, 0)  # STATISTICS


def read_queues(ifindex: int) -> list[Queue]:
    """Read the qdiscs that a device sends by, in the namespace that the caller is in.

    Raises OSError where it has more than MOST, or it takes longer than PATIENCE seconds. Of more
    classes than that, some rates stay unknown.
    """
    deadline = time.monotonic() + PATIENCE
    invisible = attribute(TCA_DUMP_INVISIBLE, b"")
    every = _dump(RTM_GETQDISC, RTM_NEWQDISC, 0, invisible, deadline)
    qdiscs = list(islice((entry for entry in every if entry.ifindex == ifindex), MOST + 1))
    if len(qdiscs) > MOST:
        raise OSError(errno.E2BIG, f"it has more than {MOST} queues")
    if not qdiscs:
        return []
    classes = _dump(RTM_GETTCLASS, RTM_NEWTCLASS, ifindex, b"", deadline)
    return queues_of(qdiscs, islice(classes, MOST))


def queues_of(qdiscs: Iterable[Entry], classes: Iterable[Entry]) -> list[Queue]:
    """Make queues of the qdiscs of one device and their classes.

    What tbf has inside of itself to wait in is left out: it has tbf's own limit.
    """
    by_handle = {q.handle: q for q in qdiscs if q.handle}
    by_class = {c.handle: c for c in classes}
    found = []
    for entry in qdiscs:
        above = by_handle.get(entry.parent & MAJOR)
        is_inside = entry.handle == 0 and above is not None and above.kind == "tbf"
        if entry.parent != INGRESS and not is_inside:
            found.append(_queue(entry, *_shaper(entry, by_handle, by_class)))
    return found


def _queue(entry: Entry, rate: int | None, assured: int | None, shaper: str | None) -> Queue:
    waiting, backlog, dropped = entry.statistics
    burst, limit, is_plain = None, _limit(entry), entry.kind in CHANGED_ALONE
    if entry.kind == "tbf" and (told := _tbf(entry)):
        own, limit, ticks, is_plain = told
        # Rounded: what was said in bytes became ticks.
        burst = round(own * ticks * TICK_NS / NANOSECONDS)
    return Queue(
        entry.kind,
        entry.handle,
        0 if entry.parent == TC_H_ROOT else entry.parent,
        dropped,
        backlog,
        waiting,
        limit,
        entry.kind in ("tbf", "bfifo"),
        rate,
        assured,
        shaper,
        burst,
        is_plain,
    )


def _shaper(
    entry: Entry, by_handle: Mapping[int, Entry], by_class: Mapping[int, Entry]
) -> tuple[int | None, int | None, str | None]:
    """Return the most and the least that the nearest lets through that shapes, and its name.

    That is itself or one above it.
    """
    for _ in range(DEEPEST):
        if rates := _rates(entry):
            is_class = bool(entry.handle & ~MAJOR)
            word = f"{entry.kind} class" if is_class else entry.kind
            return *rates, f"{word} {show_handle(entry.handle)}"
        above = by_class.get(entry.parent) or by_handle.get(entry.parent & MAJOR)
        if above is None or above is entry:
            break
        entry = above
    return None, None, None


def _rates(entry: Entry) -> tuple[int, int] | None:
    """Return the bytes a second that one lets through at most and at least, if it says so."""
    if entry.kind == "tbf":
        told = _tbf(entry)
        return (told[0], told[0]) if told else None
    options = attributes_in(entry.options)
    if entry.kind == "htb" and len(options.get(HTB_PARMS, b"")) >= HTB.size:
        rate, ceil = HTB.unpack_from(options[HTB_PARMS])
        most = _long(options, HTB_CEIL64) or RATE.unpack(ceil)[-1]
        return most, _long(options, HTB_RATE64) or RATE.unpack(rate)[-1]
    told_64 = _long(options, CAKE_RATE64) if entry.kind == "cake" else 0
    return (told_64, told_64) if told_64 else None


def _tbf(entry: Entry) -> tuple[int, int, int, bool] | None:
    """Return rate, limit, burst in ticks, and whether that is all that is to be known of it."""
    options = attributes_in(entry.options)
    if len(options.get(TBF_PARMS, b"")) < TBF.size:
        return None
    rate, peak, limit, ticks, _ = TBF.unpack_from(options[TBF_PARMS])
    link_layer, overhead, least, low = RATE.unpack(rate)
    is_plain = link_layer <= ETHERNET and not overhead and not least and not any(peak)
    return _long(options, TBF_RATE64) or low, limit, ticks, is_plain


def _limit(entry: Entry) -> int | None:
    data = entry.options
    if entry.kind in LIMIT_ATTRIBUTES:
        data, at = attributes_in(data).get(LIMIT_ATTRIBUTES[entry.kind], b""), 0
    elif entry.kind in LIMIT_AT:
        at = LIMIT_AT[entry.kind]
    else:
        return None
    return NUMBER.unpack_from(data, at)[0] if len(data) >= at + NUMBER.size else None


def _long(options: Mapping[int, bytes], number: int) -> int:
    data = options.get(number, b"")
    return LONG.unpack_from(data)[0] if len(data) >= LONG.size else 0


def _dump(
    kind: int, wanted: int, ifindex: int, attributes: bytes, deadline: float
) -> Iterator[Entry]:
    with Asking() as asking:
        asking.socket.settimeout(PATIENCE)
        for told, _, message in asking.dump(kind, QDISC.pack(0, ifindex, 0, 0, 0) + attributes):
            if told == wanted and (entry := parse_entry(message)):
                yield entry
            if time.monotonic() >= deadline:
                raise OSError(
                    errno.ETIMEDOUT, f"to read the queues takes longer than {PATIENCE:g} s"
                )


def parse_entry(message: bytes) -> Entry | None:
    """Read a qdisc or class out of its message; None of one that is cut short."""
    if len(message) < QDISC.size:
        return None
    _, ifindex, handle, parent, _ = QDISC.unpack_from(message)
    told = attributes_in(message, QDISC.size)
    queue = attributes_in(told.get(TCA_STATS2, b"")).get(TCA_STATS_QUEUE, b"")
    statistics = STATISTICS.unpack_from(queue) if len(queue) >= STATISTICS.size else (0, 0, 0)
    kind = told.get(TCA_KIND, b"").rstrip(b"\0").decode("ascii", "replace")
    return Entry(ifindex, handle, parent, kind, told.get(TCA_OPTIONS, b""), statistics)
