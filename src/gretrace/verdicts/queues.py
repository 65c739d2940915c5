# SPDX-License-Identifier: GPL-2.0-only
"""What a tunnel sends finds no room where it waits to leave (net/sched)."""

from collections.abc import Sequence
from dataclasses import dataclass

from gretrace.commands import Command, Word, run
from gretrace.kernel import send
from gretrace.model import Confidence, Finding, Fix, Queue, Where, show_handle
from gretrace.verdicts.case import Case
from gretrace.verdicts.ends import owner
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_death, describe_packet, describe_tunnel
from gretrace.wire.packet import ETHERNET_SIZE

# A queue with room for less than that loses what comes in bursts, as TCP does; of a longer one
# more would only delay what it loses anyway.
SHORT_PACKETS, SHORT_SECONDS = 50, 0.1
ROOM_PACKETS, ROOM_SECONDS = 200, 0.4
FULL_SIZE = 1514
NANOSECONDS = 10**9
# So long must it have gone on, in nanoseconds, before a rate is told.
SPAN = NANOSECONDS // 5


@dataclass(frozen=True, slots=True)
class _Jam:
    """A queue without room for the packets of a case."""

    case: Case
    device: str
    queue: Queue
    size: int  # bytes of the packet as the qdisc counts them

    @property
    def is_too_long(self) -> bool:
        """Whether no queue would help: tbf passes nothing that is longer than its burst."""
        return self.queue.burst is not None and self.size > self.queue.burst

    @property
    def is_slow(self) -> bool:
        """Whether it had room, and the packet waited too long in it."""
        return self.case.is_at(send.long_queue)

    @property
    def is_short(self) -> bool:
        """Whether it has less room than bursts need."""
        limit = self.queue.limit
        if limit is None or self.is_slow:
            return False
        least = SHORT_PACKETS * (FULL_SIZE if self.queue.is_limit_in_bytes else 1)
        if self.queue.is_limit_in_bytes and self.queue.rate:
            least = int(self.queue.rate * SHORT_SECONDS)
        return limit < least

    @property
    def asked(self) -> int | None:
        """The bytes a second that came at least, where the rate is known and it went on a while."""
        drop, rate = self.case.drop, self.queue.assured
        span = drop.last_ns - drop.first_ns
        if not rate or self.is_too_long or drop.count < 2 or span < SPAN:
            return None
        return rate + (drop.count - 1) * self.size * NANOSECONDS // span


@cause(
    "tx-queue-full",
    "the queue of the tunnel's device, or of the one below it, has no room for the packet",
    *(send.full_queue, send.long_queue),
)
def tx_queue_full(case: Case) -> Finding | None:
    """A qdisc dropped it: the one that counts drops is told, with its limit, backlog and rate.

    It has no room, as the reason says (v5.17); or it lets go of what has waited too long (CoDel).
    """
    drop = case.drop
    device = case.leaving_by if drop.leaving_by else case.iif
    below = case.host.device(drop.leaving_by or drop.ifindex)
    is_inside = drop.on_tunnel and not drop.leaving_by
    if not device or (below and below.up and not below.carrier and not is_inside):
        return None
    show = run(case.netns, "tc", "-s", "qdisc", "show", "dev", device)
    tunnel = owner(case) or case.sending.tunnel
    evidence = [
        *([describe_packet(case.packet)] if case.packet else []),
        *([describe_tunnel(tunnel)] if tunnel else []),
        describe_death(drop),
    ]
    queues = _dropping(case.host.queues(drop.leaving_by or drop.ifindex))
    if queues:
        jam = _Jam(case, device, queues[0], _size(case, is_inside=is_inside))
        why, fix = _why(jam), _fixes(jam)
        evidence += [f"`{show}`: {_describe(queue)}" for queue in queues[:3]]
        if jam.asked:
            evidence.append(
                f"{drop.count} such packets were dropped within "
                f"{(drop.last_ns - drop.first_ns) / NANOSECONDS:.1f} s: at least "
                f"{_show_rate(jam.asked)} came, and {jam.queue.shaper} lets no more than "
                f"{_show_rate(jam.queue.rate or 0)} through."
            )
    else:
        why = "it had no room"
        evidence.append(f"None of the queues that `{show}` has now counts a drop.")
        fix = (Fix(Where.HERE, f"See what {device} queues packets in, and how much.", show),)
    return Finding(
        summary=f"{_subject(case)} are dropped in the queue of {device}: {why}.",
        evidence=tuple(evidence),
        fix=fix,
        path=(case.iif or device, "queue", str(drop.place)),
        confidence=Confidence.CERTAIN if len(queues) == 1 else Confidence.LIKELY,
        tunnel=tunnel.name if tunnel else None,
    )


def _subject(case: Case) -> str:
    packet, tunnel = case.packet, owner(case) or case.sending.tunnel
    to = f" to {packet.local}" if packet else ""
    if case.drop.leaving_by:
        return f"Packets{to} that {case.iif} has received"
    return f"Packets of {tunnel.name}{to}" if tunnel else f"Packets{to}"


def _size(case: Case, *, is_inside: bool) -> int:
    """Return the bytes of the packet as a qdisc counts them, with the frame's header if any."""
    length = case.packet.length if case.packet else 0
    return length if is_inside else length + ETHERNET_SIZE


def _dropping(queues: Sequence[Queue]) -> list[Queue]:
    """Return the queues that count drops, the most first, of each branch the last.

    What a class or another qdisc has refused is counted by those above it, too.
    """
    counting = [queue for queue in queues if queue.dropped]
    above = {queue.parent >> 16 for queue in counting}
    last = [queue for queue in counting if not queue.handle or queue.handle >> 16 not in above]
    return sorted(last, key=lambda queue: -queue.dropped)


def _why(jam: _Jam) -> str:
    queue = jam.queue
    if jam.is_too_long:
        return (
            f"{queue.name} passes no packet that is longer than its burst of {queue.burst} bytes, "
            f"and this one has {jam.size}"
        )
    through = (
        f"{queue.shaper} lets no more than {_show_rate(queue.rate)} through"
        if queue.rate is not None
        else ""
    ).removeprefix(f"{queue.name} ")
    if jam.is_slow:
        more = f": {through}" if queue.rate is not None else ""
        return f"{queue.name} lets go of what has waited too long, so that senders slow down{more}"
    limit = "" if queue.limit is None else f" has room for {_show_limit(queue)}"
    if not limit:
        return f"{queue.name} is full" + (f", and {through}" if through else "")
    return f"{queue.name}{limit}" + (f", and {through}" if through else ", and more came at once")


def _fixes(jam: _Jam) -> tuple[Fix, ...]:
    queue, device = jam.queue, jam.device
    if jam.is_too_long:
        # Once a second the clock must give enough for a packet (tbf of sch_tbf.c, HZ 100).
        burst = max(2 * jam.size, (queue.rate or 0) // 100)
        return (
            Fix(
                Where.HERE,
                "Let it pass whole packets: a burst of two of them, or of what the rate makes in "
                "10 ms.",
                _change(jam, burst=burst),
            ),
        )
    if queue.kind == "netem":
        note = f"netem drops on purpose: see its `loss` and `limit`, or take it off {device}."
        return (Fix(Where.HERE, note),)
    longer = _longer(jam)
    slower = Fix(
        Where.HERE,
        "Have less sent this way: shape at the sender, or take another way for some of it."
        if queue.rate is None
        else "Have less sent this way, or raise the rate if what lies beyond carries more.",
        _change(jam, rate=_more(jam.asked)) if jam.asked else None,
    )
    return (longer, slower) if longer else (slower,)


def _longer(jam: _Jam) -> Fix | None:
    queue = jam.queue
    if not jam.is_short:
        return None
    if queue.is_limit_in_bytes:
        room = max(int((queue.rate or 0) * ROOM_SECONDS), SHORT_PACKETS * FULL_SIZE)
    else:
        room = ROOM_PACKETS
    return Fix(
        Where.HERE,
        "Let it hold what comes in bursts; what comes for longer than that is lost all the same.",
        _change(jam, limit=room),
    )


def _more(rate: int) -> int:
    """A tenth more, in whole kilobits a second."""
    return -(-rate * 11 // 10 // 125) * 125


def _change(
    jam: _Jam, *, limit: int | None = None, burst: int | None = None, rate: int | None = None
) -> Command | None:
    """Build the command that changes one thing of a qdisc; None where that takes more."""
    queue = jam.queue
    where: tuple[Word, ...] = ("dev", jam.device)
    where += ("parent", show_handle(queue.parent)) if queue.parent else ("root",)
    if not queue.is_plain or (queue.parent and not queue.parent & 0xFFFF):
        return None
    if queue.kind == "tbf":
        if queue.rate is None or queue.burst is None or queue.limit is None:
            return None
        told: tuple[Word, ...] = ("rate", f"{8 * (rate or queue.rate)}bit")
        told += ("burst", burst or queue.burst, "limit", limit or queue.limit)
    elif limit is None:
        return None
    else:
        told = ("limit", limit)
    if not queue.handle:
        # One that the kernel made has no handle to be changed by.
        return run(jam.case.netns, "tc", "qdisc", "replace", *where, queue.kind, *told)
    where += ("handle", show_handle(queue.handle))
    return run(jam.case.netns, "tc", "qdisc", "change", *where, queue.kind, *told)


def _describe(queue: Queue) -> str:
    where = f"in class {show_handle(queue.parent)}" if queue.parent else "root"
    words = f"{queue.name} {where}, dropped {queue.dropped}, "
    words += f"backlog {queue.backlog} bytes in {queue.waiting} packets"
    if queue.limit is not None:
        words += f", limit {_show_limit(queue)}"
    if queue.burst is not None:
        words += f", burst {queue.burst} bytes"
    if queue.rate is not None:
        words += f", rate {_show_rate(queue.rate)} ({queue.shaper})"
    return words + "."


def _show_limit(queue: Queue) -> str:
    return f"{queue.limit} {'bytes' if queue.is_limit_in_bytes else 'packets'}"


def _show_rate(rate: int) -> str:
    bits = 8 * rate
    for size, unit in ((10**9, "Gbit/s"), (10**6, "Mbit/s"), (10**3, "kbit/s")):
        if bits >= size:
            return f"{bits / size:.4g} {unit}"
    return f"{bits} bit/s"
