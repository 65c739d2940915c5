# SPDX-License-Identifier: GPL-2.0-only
"""Qdiscs as the kernel tells them, and what is said of one that is full."""

import struct
from dataclasses import replace

import pytest

from gretrace.commands import Netns
from gretrace.host import queues as host_queues
from gretrace.host.queues import Entry, parse_entry, queues_of
from gretrace.model import Queue
from gretrace.verdicts import explain
from tests.unit.cases import VB
from tests.unit.expected.queues import (
    CODEL,
    EXPECTED,
    HTB,
    IN_CLASS,
    TBF,
    full,
    host,
    inside,
)

ROOT, INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
SECOND = 10**9


def attribute(kind, payload):
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def ratespec(rate, *, overhead=0, link_layer=1):
    """struct tc_ratespec"""
    return struct.pack("=BBHhHI", 3, link_layer, overhead, -1, 0, rate)


def tbf_options(rate, burst, limit, **more):
    ticks = burst * SECOND // rate // 64
    parms = ratespec(rate, **more) + bytes(12)
    return attribute(1, parms + struct.pack("=III", limit, ticks, 0))


def htb_options(rate, ceil):
    return attribute(1, ratespec(rate) + ratespec(ceil) + bytes(20))


def entry(kind, handle, parent, options=b"", drops=0):
    return Entry(VB, handle, parent, kind, options, (1, 1000, drops))


def message(kind, handle, parent, options, statistics):
    head = struct.pack("=BxxxiIII", 0, VB, handle, parent, 2)
    queue = attribute(3, struct.pack("=IIIII", *statistics, 0, 0))
    return head + attribute(1, kind.encode() + b"\0") + attribute(2, options) + attribute(7, queue)


def test_a_qdisc_is_read():
    data = message("tbf", 0x80010000, ROOT, tbf_options(12500, 1600, 3000), (2, 2400, 27))
    (queue,) = queues_of([parse_entry(data)], [])
    assert queue == Queue(
        "tbf", 0x80010000, 0, 27, 2400, 2, 3000, is_limit_in_bytes=True, rate=12500, assured=12500,
        shaper="tbf 8001:", burst=1600, is_plain=True,
    )  # fmt: skip


def test_what_is_cut_short_is_no_reason_to_fail():
    data = message("tbf", 0x80010000, ROOT, tbf_options(12500, 1600, 3000), (2, 2400, 27))
    for size in range(len(data)):
        if told := parse_entry(data[:size]):
            queues_of([told], [])


def test_what_tbf_has_inside_is_tbf():
    qdiscs = [
        entry("tbf", 0x80010000, ROOT, tbf_options(12500, 1600, 3000)),
        entry("bfifo", 0, 0x80010001, struct.pack("=I", 3000)),
    ]
    assert [queue.kind for queue in queues_of(qdiscs, [])] == ["tbf"]


def test_a_queue_is_let_through_what_its_class_is():
    qdiscs = [
        entry("htb", 0x10000, ROOT),
        entry("fq_codel", 0x100000, 0x10010, attribute(2, struct.pack("=I", 1024))),
    ]
    classes = [
        entry("htb", 0x10001, ROOT, htb_options(5000, 8000)),
        entry("htb", 0x10010, 0x10001, htb_options(1000, 2000)),
    ]
    root, leaf = queues_of(qdiscs, classes)
    assert (root.rate, root.limit) == (None, None)
    assert (leaf.rate, leaf.assured) == (2000, 1000)
    assert (leaf.shaper, leaf.limit) == ("htb class 1:10", 1024)


def test_nothing_waits_at_the_ingress():
    assert queues_of([entry("clsact", 0xFFFF0000, INGRESS)], []) == []


def finding(judged):
    return explain(judged).finding


def test_a_queue_that_is_short_is_made_longer():
    fix, _ = finding(full(TBF)).fix
    assert fix.command.text == (
        "tc qdisc change dev vb root handle 8001: tbf rate 1000000bit burst 1600 limit 75700"
    )
    fix, _ = finding(inside(HTB, IN_CLASS)).fix
    assert fix.command.text == "tc qdisc change dev gre1 parent 1:10 handle 10: pfifo limit 200"


def test_one_that_the_kernel_made_is_replaced():
    made = replace(IN_CLASS, handle=0)
    command = finding(inside(HTB, made)).fix[0].command
    assert command.text == "tc qdisc replace dev gre1 parent 1:10 pfifo limit 200"


def test_a_long_queue_is_not_made_longer():
    (fix,) = finding(full(replace(TBF, limit=100_000))).fix
    assert fix.command is None
    assert "Have less sent" in fix.note


def test_the_rate_that_was_asked_is_told_once_it_can_be():
    judged = full(
        replace(TBF, limit=100_000), count=1001, first_ns=SECOND, last_ns=SECOND + 2 * SECOND
    )
    told = finding(judged)
    # 1000 packets of 88 bytes and 14 of Ethernet in 2 seconds, beside 1 Mbit/s.
    assert "at least 1.408 Mbit/s came, and tbf 8001: lets no more than 1 Mbit/s through" in str(
        told.evidence
    )
    assert "rate 1549000bit burst 1600 limit 100000" in told.fix[0].command.text


def test_no_queue_helps_what_is_longer_than_the_burst():
    told = finding(full(replace(TBF, burst=90)))
    assert "longer than its burst of 90 bytes" in told.summary
    assert "burst 1250 limit 3000" in told.fix[0].command.text


@pytest.mark.parametrize("queue", [
    replace(TBF, is_plain=False),
    replace(TBF, kind="netem", rate=None, burst=None),
    replace(IN_CLASS, parent=0x10000),
])  # fmt: skip
def test_what_takes_more_than_one_word_is_no_command(queue):
    assert all(fix.command is None for fix in finding(full(queue)).fix)


def test_the_last_of_a_branch_is_meant():
    told = finding(full(replace(HTB, dropped=9), IN_CLASS))
    assert "pfifo 10:" in told.summary
    assert str(told.confidence) == "certain"
    others = full(replace(IN_CLASS, handle=0x200000, parent=0x10020, dropped=7), IN_CLASS)
    assert "pfifo 20:" in finding(others).summary
    assert str(finding(others).confidence) == "likely"


def test_it_is_asked_for_where_the_packet_died():
    judged = replace(full(TBF), netns=Netns("b"), host=replace(host(), queued={VB + 1: (TBF,)}))
    assert finding(judged).fix[0].command.text == "ip netns exec b tc -s qdisc show dev vb"


def test_what_waited_too_long_needs_no_longer_queue():
    judged, _ = EXPECTED["tx-queue-full, it waited too long"]
    told = finding(judged)
    assert "fq_codel 10: lets go of what has waited too long" in told.summary
    assert "htb class 1:10 lets no more than 80 kbit/s through" in told.summary
    assert [fix.command for fix in told.fix] == [None]
    short = replace(judged, host=replace(judged.host, queued={VB: (replace(CODEL, limit=2),)}))
    assert [fix.command for fix in finding(short).fix] == [None]


def test_what_is_without_end_is_not_read_to_its_end(monkeypatch):
    told = [entry("pfifo", 0, 0x10001, struct.pack("=I", 3)) for _ in range(5)]
    monkeypatch.setattr(host_queues, "_dump", lambda *_: iter(told))
    assert len(host_queues.read_queues(VB)) == len(told)
    assert host_queues.read_queues(VB + 1) == []
    monkeypatch.setattr(host_queues, "MOST", 4)
    with pytest.raises(OSError, match="more than 4 queues"):
        host_queues.read_queues(VB)
