# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/queues.py."""

from dataclasses import replace

from gretrace.model import Device, Place, Queue
from tests.frames import udp
from tests.unit.cases import VB
from tests.unit.expected.sending import GRE, INNER_A, INNER_B, host, left, outer, unsent
from tests.unit.host import GRE1, on_tunnel

XMIT = Place("__dev_queue_xmit")
TBF = Queue(
    "tbf", 0x80010000, 0, 3, limit=3000, is_limit_in_bytes=True, rate=125000,
    assured=125000,
    shaper="tbf 8001:", burst=1600, is_plain=True,
)  # fmt: skip
HTB = Queue("htb", 0x10000, 0, 3)
IN_CLASS = Queue(
    "pfifo",
    0x100000,
    0x10010,
    3,
    limit=2,
    rate=10000,
    assured=5000,
    shaper="htb class 1:10",
    is_plain=True,
)


def full(*queues, on=VB, **more):
    asked = replace(host(), queued={on: queues})
    return left(outer(), [GRE], asked, place=XMIT, reason="QDISC_DROP", **more)


def inside(*queues):
    asked = replace(host(), queued={GRE1: queues})
    return unsent(udp(INNER_B, INNER_A), GRE, asked, place=XMIT, reason="QDISC_DROP")


CODEL = replace(IN_CLASS, kind="fq_codel", limit=10240)
EXPECTED = {
    "tx-queue-full, it waited too long": (
        left(
            *(outer(), [GRE]),
            replace(host(), queued={VB: (CODEL,)}),
            place=Place("__fq_codel_dequeue"),
        ),
        "gre1",
    ),
    "tx-queue-full": (full(TBF), "gre1"),
    "tx-queue-full, of the tunnel": (inside(HTB, IN_CLASS), "gre1"),
    "tx-queue-full, nobody counts": (full(replace(TBF, dropped=0)), "gre1"),
    "tx-queue-full, of the LAN": (
        replace(
            on_tunnel(
                *(udp(INNER_A, "10.20.0.9"), GRE),
                host=replace(host(), queued={VB: (TBF,)}),
                place=XMIT,
                reason="QDISC_DROP",
                leaving_by=VB,
            ),
            leaving_by="lan0",
        ),
        "gre1",
    ),
    "tx-link-down, what is sent into nothing": (
        left(
            *(outer(), [GRE]),
            replace(host(), devices={VB: Device(VB, "vb", up=True, carrier=False)}),
            place=XMIT,
            reason="QDISC_DROP",
        ),
        "gre1",
    ),
}
