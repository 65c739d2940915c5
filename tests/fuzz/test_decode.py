# SPDX-License-Identifier: GPL-2.0-only
"""Whatever the bytes are, the decoders answer and never raise."""

import json

from hypothesis import given
from hypothesis import strategies as st

from gretrace.engine.decode import decode_decision, decode_drop, decode_lookup_entry
from gretrace.explain.tally import Totals, report_of, tuple_of
from gretrace.kernel.lookup import Tables
from gretrace.model import Report
from gretrace.render.record import to_record
from gretrace.render.summary import summary
from gretrace.render.text import Painter, block
from gretrace.verdicts import Case, explain
from gretrace.wire.packet import parse_packet


@given(st.binary(max_size=256), st.integers(min_value=0, max_value=70000) | st.none())
def test_any_packet_is_read(data, length):
    packet = parse_packet(data, length)
    assert packet is None or packet.length >= len(data[:20])


@given(st.binary(max_size=80), st.binary(max_size=300), st.binary(max_size=80))
def test_any_record_becomes_a_report_in_every_form(key, stats, place):
    drop = decode_drop(key, stats, place, {1: "NOT_SPECIFIED"}, 0)
    verdict = explain(Case(drop, Tables(), iif="vb"))
    seen = tuple_of(drop, Tables())
    report = Report(
        verdict, drop, "vb", None, seen, drop.count, drop.first_ns % 2**61, drop.last_ns % 2**61
    )
    assert json.loads(json.dumps(to_record(report)))["count"] == drop.count
    assert verdict.cause in block(report, Painter(color=True))
    totals = Totals()
    totals.add(report_of(drop, verdict, seen, "vb", None))
    assert verdict.cause in summary(totals)


@given(
    st.binary(min_size=20, max_size=64).map(lambda tail: b"\x45" + tail[1:9] + b"\x2f" + tail[10:])
)
def test_anything_that_claims_to_be_gre_is_judged(data):
    packet = parse_packet(data)
    assert packet is None or packet.protocol == 47


@given(st.binary(max_size=100), st.binary(max_size=50))
def test_any_record_becomes_a_decision(record, stats):
    for seen in (decode_decision(record, 0), decode_lookup_entry(record, stats, 0)):
        assert seen.remote.version == seen.local.version == seen.family
        assert (seen.tunnel_ifindex is None) == (seen.tunnel_name is None)
        assert json.dumps([seen.key, seen.flags, seen.protocol, seen.tunnel_name])
