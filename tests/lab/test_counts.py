# SPDX-License-Identifier: GPL-2.0-only
"""Counts are exact, whatever the flood, and what is not kept apart is said."""

import re
import time

from tests.frames import gre_packet
from tests.lab.hosts import A, B, pair, tunnel_b
from tests.lab.session import explain_drop

FLOOD = 50_000


def test_a_flood_is_counted_exactly_and_told_in_few_lines():
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        with explain_drop(b) as session:
            a.send("va", gre_packet(A, B, key=2), times=FLOOD)
            session.wait_for_packets(FLOOD)
            assert session.stop() == 3
            (report,) = session.reports
            assert report["count"] == FLOOD
            assert len(session.records) < 60
            assert "unseen" not in session.stderr


def test_ten_tuples_give_ten_reports():
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        with explain_drop(b) as session:
            for key in range(10, 20):
                a.send("va", gre_packet(A, B, key=key), times=key)
            session.wait_for_packets(sum(range(10, 20)))
            session.stop()
            counts = {report["key"]: report["count"] for report in session.reports}
            assert counts == {key: key for key in range(10, 20)}


def test_a_full_table_is_shown_and_every_packet_counted():
    keys = 2000
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        with explain_drop(b, "--capacity", "4") as session:
            send = a.sender("va")
            for key in range(10, 10 + keys):
                send(gre_packet(A, B, key=key))
            # The table is full until the next look, but not for good.
            more = 0
            while not any(report["key"] == 9 for report in session.reports):
                assert more < 600
                a.send("va", gre_packet(A, B, key=9))
                more += 1
                time.sleep(0.1)
            assert session.stop() == 3
            kept = sum(report["count"] for report in session.reports)
            said = re.findall(r"(\d+) (?:dropped packets were|in all)", session.stderr)
            assert 0 < int(said[-1]) == keys + more - kept
            assert "--capacity" in session.stderr
            assert "gre_rcv" in session.stderr


def test_count_option_stops_by_itself():
    with pair() as (a, b), explain_drop(b, "-c", "3") as session:
        a.send("va", gre_packet(A, B), times=3)
        assert session.wait() == 3
        assert sum(report["count"] for report in session.reports) == 3


def test_duration_option_stops_by_itself():
    with pair() as (_, b), explain_drop(b, "--duration", "0.5") as session:
        assert session.wait() == 0
