# SPDX-License-Identifier: GPL-2.0-only
"""Set-ups from the field, sent: the queue of the tunnel's device, or of the one below, is full."""

import socket
import time

from gretrace.host.namespaces import entered
from tests.lab.field import Row, pings_from_b, prove
from tests.lab.hosts import INNER_A, pair, run, tunnel_a, tunnel_b
from tests.lab.session import explain_drop

NARROW = "qdisc add dev vb root handle 1: tbf rate 100kbit burst 1600 limit 9000"
BURST, SIZE = 40, 400  # packets that a program sends at once, and the bytes in each


def tc(site, *lines):
    for line in lines:
        run("tc", *line.split(), host=site.b)


def queued(*lines, ip=()):
    """Tunnels at both ends, and queues of B's."""

    def make(site):
        site.tunnel()
        site.peer_tunnel()
        site.b.ip(*(line.format(site=site) for line in ip))
        tc(site, *lines)

    return make


def tbf(options, *lines):
    return queued(f"qdisc add dev vb root handle 1: tbf {options}", *lines)


def without_carrier(site):
    queued()(site)
    address = site.a.wires[site.va][6:].hex(":")
    site.b.ip(f"neigh replace {site.far} lladdr {address} dev vb nud permanent")
    site.a.ip(f"link set {site.va} down")


def burst(site):
    """A program of B's sends many packets through the tunnel at once."""
    with entered(site.b.namespace), socket.socket(type=socket.SOCK_DGRAM) as sending:
        for _ in range(BURST):
            sending.sendto(bytes(SIZE), (site.in_a, 9))


def burst_and_ping(site):
    burst(site)
    return pings_from_b(site)


def raise_the_rate(site):
    """What a person does whose line carries more."""
    tc(site, "qdisc change dev vb root handle 1: tbf rate 10mbit burst 3200 limit 90000")


HTB = (
    "qdisc add dev gre1 root handle 1: htb default 10",
    "class add dev gre1 parent 1: classid 1:10 htb rate 1mbit",
)
FULL = {"count": None, "flows": burst_and_ping}
CHANGE = "tc qdisc change dev vb root handle 1: tbf rate 1000000bit burst"

ROWS = {
    "tbf holds too little": Row(
        "tx-queue-full", tbf("rate 1mbit burst 1600 limit 3000"), burst, iif="vb",
        words=("queue of vb", "tbf 1:", "room for 3000 bytes", "1 Mbit/s"),
        command=f"{CHANGE} 1600 limit", **FULL,
    ),
    "tbf lets too little through": Row(
        "tx-queue-full", tbf("rate 100kbit burst 1600 limit 9000"), burst, iif="vb",
        words=("queue of vb", "tbf 1:", "100 kbit/s"), notes=("raise the rate",),
        mends=raise_the_rate, **FULL,
    ),
    "a burst that is less than a packet": Row(
        "tx-queue-full", tbf("rate 1mbit burst 300 limit 90000"), burst, iif="vb",
        words=("longer than its burst", "466"), command=CHANGE, **FULL | {"count": BURST},
    ),
    "a class of htb at the tunnel, with a short queue": Row(
        "tx-queue-full", queued(*HTB, "qdisc add dev gre1 parent 1:10 handle 10: pfifo limit 2"),
        burst, iif="gre1", words=("queue of gre1", "pfifo 10:", "2 packets", "htb class 1:10"),
        command="tc qdisc change dev gre1 parent 1:10 handle 10: pfifo limit", **FULL,
    ),
    "a class of htb at the tunnel, with the kernel's queue": Row(
        "tx-queue-full", queued(*HTB, ip=("link set gre1 txqueuelen 2",)), burst, iif="gre1",
        words=("queue of gre1", "pfifo 0:", "2 packets"),
        command="tc qdisc replace dev gre1 parent 1:10 pfifo limit", **FULL,
    ),
    "fq_codel below tbf": Row(
        "tx-queue-full",
        tbf(
            "rate 2mbit burst 1600 limit 90000",
            "qdisc add dev vb parent 1:1 handle 10: fq_codel limit 2",
        ),
        burst, iif="vb", words=("queue of vb", "fq_codel 10:", "2 packets", "tbf 1:", "2 Mbit/s"),
        command="tc qdisc change dev vb parent 1:1 handle 10: fq_codel limit", **FULL,
    ),
    "fq_codel, what waits too long": Row(
        "tx-queue-full",
        tbf(
            "rate 200kbit burst 1600 limit 90000",
            "qdisc add dev vb parent 1:1 handle 10: fq_codel",
        ),
        burst, iif="vb", words=("fq_codel 10:", "waited too long", "tbf 1:", "200 kbit/s"),
        notes=("raise the rate",), mends=raise_the_rate, **FULL,
    ),
    "no carrier, and the neighbour is known": Row(
        "tx-link-down", without_carrier, pings_from_b, words=("vb", "no carrier"), where="path",
        iif="vb", count=None, mends=lambda site: site.a.ip(f"link set {site.va} up"),
        flows=pings_from_b, has_bystander=False,  # it goes by the wire that was cut
    ),
}  # fmt: skip

told, test_told, test_mended, test_what_worked_before_still_works = prove(ROWS)


def test_what_is_asked_of_a_shaper_is_told_and_given():
    """In time: of a burst nothing tells how much comes."""
    with pair() as (a, b):
        tunnel_a(a)
        tunnel_b(b)
        assert b.ping(INNER_A)
        run("tc", *NARROW.split(), host=b)
        with explain_drop(b) as session:
            send_steadily(b)
            session.wait_for(lambda reports: any(r["fix"][0]["command"] for r in reports), "rate")
            assert session.stop() == 3
        (report,) = session.reports
        (asked,) = [said for said in report["evidence"] if "came, and tbf 1: lets no more" in said]
        assert "100 kbit/s through" in asked
        command = report["fix"][0]["command"]
        assert "tbf rate" in command
        b.shell(command)
        with explain_drop(b) as session:
            send_steadily(b)
            assert session.stop() == 0, session.stdout


def send_steadily(host, seconds=3, every=0.02):
    """Twice of what 100 kbit/s let through."""
    with entered(host.namespace), socket.socket(type=socket.SOCK_DGRAM) as sending:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sending.sendto(bytes(SIZE), (INNER_A, 9))
            time.sleep(every)
