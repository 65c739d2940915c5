# SPDX-License-Identifier: GPL-2.0-only
import io
import json

import pytest

from gretrace.explain.drops import tuple_of
from gretrace.kernel.lookup import Tables
from gretrace.model import Report
from gretrace.render.peers import vendors_words
from gretrace.render.record import JsonReports, show_time, to_record
from gretrace.render.text import FOOTER_LINES, TextReports, nothing_dropped
from gretrace.verdicts import explain
from tests.frames import gre_packet, ipv4
from tests.unit.cases import A, B, case, drop, tunnel

SECOND = 10**9
KEYS = [
    "id",
    "time", "first_seen", "cause", "count", "netns", "iif", "family", "remote", "local", "key",
    "flags", "protocol", "inner", "tunnel", "summary", "evidence", "fix", "kernel", "confidence",
]  # fmt: skip


def report(key=2, *, count=1, ours=1, protocol=0x0800):
    judged = case(gre_packet(A, B, key=key, protocol=protocol), tunnel(key=ours))
    seen = tuple_of(judged.drop, judged.tables)
    return Report(explain(judged), judged.drop, "vb", None, seen, count, SECOND, 2 * SECOND)


def test_every_name_of_the_contract_is_there_in_its_order():
    assert list(to_record(report())) == KEYS


def test_values_are_those_of_the_report():
    record = to_record(report(count=7))
    assert record["time"] == "1970-01-01T00:00:02.000000Z"
    assert record["first_seen"] == "1970-01-01T00:00:01.000000Z"
    assert (record["cause"], record["count"], record["tunnel"]) == ("key-mismatch", 7, "gre1")
    assert (record["remote"], record["local"], record["key"]) == (A, B, 2)
    assert (record["flags"], record["protocol"], record["family"]) == (["key"], "0x0800", 4)
    assert record["inner"] == {"src": "10.10.10.2", "dst": "10.10.10.1", "protocol": 17}
    assert record["fix"][0]["where"] == "here"
    words = vendors_words(report().verdict.finding.fix[1])
    assert list(words) == ["cisco", "junos", "vyos", "linux"]
    assert record["fix"][1] == {
        "where": "peer", "command": None, "note": report().verdict.finding.fix[1].note,
        "vendors": {name: list(lines) for name, lines in words.items()},
    }  # fmt: skip
    assert record["kernel"] == {
        "function": "gre_rcv", "module": "ip_gre", "reason": "NOT_SPECIFIED",
    }  # fmt: skip


def test_key_0_and_no_key_stay_apart_in_json():
    assert to_record(report(key=0))["key"] == 0
    assert to_record(report(key=None))["key"] is None


def test_a_packet_on_a_tunnel_has_the_tunnels_tuple():
    ours = tunnel(key=5, ifindex=7)
    dead = drop(ipv4("9.9.9.9", "10.10.10.1", 17, bytes(8)), on_tunnel=True)
    seen = tuple_of(dead, Tables([ours]))
    record = to_record(
        Report(explain(case(None, ours)), dead, "gre1", None, seen, 1, SECOND, SECOND)
    )
    assert (record["remote"], record["local"], record["key"]) == (A, B, 5)
    assert record["inner"] == {"src": "9.9.9.9", "dst": "10.10.10.1", "protocol": 17}


def test_an_unknown_tuple_is_all_null():
    record = to_record(
        Report(
            explain(case(b"")),
            drop(b""),
            None,
            None,
            tuple_of(drop(b""), Tables()),
            1,
            SECOND,
            SECOND,
        )
    )
    for name in ("iif", "family", "remote", "local", "key", "protocol", "inner", "tunnel"):
        assert record[name] is None, name
    assert record["flags"] == []


def test_json_is_one_object_a_line():
    stream = io.StringIO()
    output = JsonReports(stream)
    output.show("x", report())
    output.show("x", report(count=2))
    output.finish([report(count=2)], {})
    assert [json.loads(line)["count"] for line in stream.getvalue().splitlines()] == [1, 2]


def text(*shown, width=None, color=False):
    stream = io.StringIO()
    output = TextReports(stream, color=color, width=width)
    for identity, one in shown:
        output.show(identity, one)
    return stream.getvalue()


def test_a_block_explains_and_a_growth_is_one_line():
    lines = text(("x", report()), ("x", report(count=1234))).splitlines()
    assert lines[0] == "DROP key-mismatch gre1"
    assert lines[1] == "  gre1 expects key 1, but the packets from 20.1.1.2 carry key 2."
    assert lines[2] == "  died    vb -> gre_rcv -> parse -> lookup x"
    assert lines[-1] == f"     1234  key-mismatch gre1 {A} > {B}, key 2 0x0800"


def test_the_same_fault_with_another_payload_is_not_explained_again():
    shown = text(("x", report()), ("y", report(protocol=0x86DD)))
    assert shown.count("gre1 expects key 1") == 1
    assert f"DROP key-mismatch gre1 {A} > {B}, key 2 0x86dd: as above" in shown


def test_counts_grow_in_place_on_a_terminal():
    shown = text(("x", report()), ("x", report(count=9)), width=60)
    assert shown.count("\r\x1b[1A\x1b[J") == 1
    assert shown.count("DROP key-mismatch") == 1


def test_of_many_counts_only_the_newest_reports_are_below_the_blocks():
    many = [(number, report(key=number + 2)) for number in range(FOOTER_LINES + 3)]
    # The first has no room there any more, however it grows.
    shown = text(*many, (0, report(key=2, count=70)), (5, report(key=7, count=71)), width=60)
    footer = shown.rpartition("\x1b[J")[2].splitlines()
    keys = [line.partition(", key ")[2].split()[0] for line in footer]
    assert keys == [str(number + 2) for number in range(3, FOOTER_LINES + 3)]
    assert [line.split()[0] for line in footer] == ["1", "1", "71", *["1"] * (FOOTER_LINES - 3)]


@pytest.mark.parametrize("color", [True, False])
def test_color(color):
    assert ("\x1b[1;31m" in text(("x", report()), color=color)) == color


class Flushed(io.StringIO):
    """Knows how much of it was handed over."""

    handed = ""

    def flush(self):
        self.handed = self.getvalue()


@pytest.mark.parametrize("make", [JsonReports, lambda s: TextReports(s, color=False, width=None)])
def test_every_report_is_handed_over_at_once(make):
    stream = Flushed()
    output = make(stream)
    for number in range(3):
        output.show(number, report(key=number + 2))
        assert stream.handed == stream.getvalue() != ""


def test_where_nothing_was_dropped_it_says_what_arrived():
    lines = nothing_dropped({"gre1": 5, "gre2": 0}).splitlines()
    assert lines[0] == "No GRE packet was dropped."
    assert lines[1] == "gre1 received 5 packets meanwhile."
    assert lines[2].startswith("gre2 received nothing meanwhile")


def test_a_verdict_that_changes_is_explained_anew():
    shown = text(("x", report(ours=1)), ("x", report(ours=9, count=2)))
    assert "expects key 1," in shown
    assert "expects key 9," in shown


def test_long_counts_do_not_wrap():
    footer = text(("x", report()), width=40).splitlines()[-1]
    assert len(footer) == 39


def test_times_are_rfc_3339_in_utc():
    assert show_time(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"
