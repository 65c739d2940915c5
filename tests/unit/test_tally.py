# SPDX-License-Identifier: GPL-2.0-only
"""Totals of any number of reports in the room of some."""

from dataclasses import replace

from gretrace.explain.tally import Totals, report_of, tuple_of
from gretrace.kernel.lookup import Tables
from gretrace.model import Place
from gretrace.render.summary import summary
from gretrace.verdicts import Case, explain
from gretrace.wire.packet import parse_packet
from tests.frames import gre_packet
from tests.unit.cases import A, B, drop


def add(totals, key, count=1, **more):
    packet = parse_packet(gre_packet(A, B, key=key))
    seen = replace(drop(), packet=packet, **more)
    verdict = explain(Case(seen, Tables(), iif="vb"))
    return totals.add(report_of(seen, verdict, tuple_of(seen, Tables()), "vb", None, count))


def test_a_scan_takes_no_more_room_than_there_is_and_every_packet_counts():
    totals = Totals(at_most=100)
    for key in range(1000):
        add(totals, key, 3)
    every = list(totals)
    assert len(every) <= 101
    assert sum(total.count for total in every) == totals.packets == 3000
    (rest,) = [total for total in every if total.reports > 1]
    assert rest.reports == 1000 - (len(every) - 1)
    assert f"{rest.count}" in summary(every)
    assert "many" in summary(every)


def test_what_goes_on_is_kept_and_what_is_rare_too():
    totals = Totals(at_most=100)
    elsewhere = Place("ip_forward")
    add(totals, 7, place=elsewhere)
    for key in range(1000, 2000):
        add(totals, key)
        add(totals, 8)
    kept = {(total.tuple.key, total.count) for total in totals if total.reports == 1}
    assert (8, 1000) in kept
    assert (7, 1) in kept


def test_one_that_comes_back_is_counted_anew():
    totals = Totals(at_most=100)
    add(totals, 7, 5)
    for key in range(1000, 1200):
        add(totals, key)
    _, report, is_new = add(totals, 7, 2)
    assert is_new
    assert report.count == 2
    assert sum(total.count for total in totals) == totals.packets == 207


def test_a_namespace_that_has_the_inode_of_one_before_is_another():
    totals = Totals()
    add(totals, 7, netns_cookie=1)
    _, report, is_new = add(totals, 7, netns_cookie=2)
    assert is_new
    assert report.count == 1
