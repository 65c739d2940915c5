# SPDX-License-Identifier: GPL-2.0-only
"""The table at the end, and the sums that it is made of."""

from gretrace.explain.tally import Totals, report_of
from gretrace.model import Total, Tuple
from gretrace.render.summary import summary
from gretrace.verdicts import explain
from tests.frames import gre, gre_packet, ipv6, udp
from tests.unit.cases import case

A, B = "20.1.1.2", "20.1.1.1"
UNKNOWN = Tuple(None, None, None, None, (), None)


def total(count, netns=1, seen=UNKNOWN, **more):
    values = {"cause": "no-tunnel", "tunnel": None, "iif": None, "namespace": None, **more}
    return Total(netns=netns, tuple=seen, count=count, **values)


def known(key):
    return case(gre_packet(A, B, key=key)).packet


def seen_of(key):
    packet = known(key)
    return Tuple(4, packet.remote, packet.local, key, ("key",), 0x0800)


def lines(*totals):
    return [line.split() for line in summary(totals).splitlines()]


def test_the_most_frequent_come_first_with_every_column():
    head, _, *rows = lines(
        total(2),
        total(5, seen=seen_of(0), cause="key-mismatch", tunnel="gre1", iif="vb", netns=1),
    )
    assert " ".join(head) == "packets cause tunnel remote local key protocol iif"
    assert " ".join(rows[0]) == f"5 key-mismatch gre1 {A} {B} 0 0x0800 vb"
    assert " ".join(rows[1]) == "2 no-tunnel - any any none - -"


def test_several_namespaces_are_told_apart():
    head, _, *rows = lines(total(2), total(1, netns=7, namespace="red"))
    assert head[-1] == "namespace"
    assert [row[-1] for row in rows] == ["1", "red"]


def test_of_very_many_the_rest_is_counted(monkeypatch):
    monkeypatch.setattr("gretrace.render.summary.ROWS_AT_MOST", 2)
    *rows, last = summary(total(count) for count in (1, 9, 3, 4)).splitlines()
    assert [row.split()[0] for row in rows[2:]] == ["9", "4"]
    assert last == "... and 2 more, of 4 packets; JSON has each"


def test_sums_are_told_as_they_were_added():
    totals = Totals()
    judged = [
        case(gre_packet(A, B, key=7)),
        case(gre_packet(A, B)),
        case(ipv6("fd00::2", "fd00::1", 47, gre(udp("10.1.1.1", "10.1.1.2"), key=0))),
        case(b""),
    ]
    reports = []
    for one in judged:
        packet = one.packet
        seen = UNKNOWN
        if packet:
            key = packet.gre.key
            seen = Tuple(packet.family, packet.remote, packet.local, key, (), 0x0800)
        _, report, is_new = totals.add(report_of(one.drop, explain(one), seen, "vb", "blue", 3))
        assert is_new
        reports.append(report)
    assert [(one.cause, one.tunnel, one.tuple, one.count) for one in totals] == [
        (report.verdict.cause, report.verdict.finding.tunnel, report.tuple, 3) for report in reports
    ]
    assert {(one.iif, one.namespace) for one in totals} == {("vb", "blue")}
    assert totals.packets == 12


def test_what_is_added_again_grows_in_count_and_time():
    totals = Totals()

    def add(count, first_ns, last_ns):
        one = case(gre_packet(A, B, key=7), first_ns=first_ns, last_ns=last_ns)
        return totals.add(report_of(one.drop, explain(one), seen_of(7), "vb", None, count))

    identity, _, _ = add(3, 50, 60)
    again, report, is_new = add(4, 40, 55)
    assert (again, is_new) == (identity, False)
    assert (report.count, report.first_ns, report.last_ns) == (7, 40, 60)
    assert [one.count for one in totals] == [7]
