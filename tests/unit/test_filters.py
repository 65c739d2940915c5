# SPDX-License-Identifier: GPL-2.0-only
"""What is read of tc filters, and said of them."""

import struct

import pytest

from gretrace.engine.hooks import TC_PRIORITY
from gretrace.host.filters import droppers_in
from gretrace.model import Confidence, Filter
from gretrace.verdicts import explain
from gretrace.verdicts.programs import OUR_PREF
from tests.unit.expected.filtering import DROP, EXPECTED, by_tc

SHOT, OK = 2, 0


def attribute(kind, value):
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + bytes(-size % 4)


def action(kind, options, dropped=None):
    told = attribute(1, kind + b"\0") + attribute(2, options)
    if dropped is not None:
        told += attribute(4, attribute(3, struct.pack("=IIIII", 0, 0, dropped, 0, 0)))
    return told


def gact(decision, dropped=None):
    return action(b"gact", attribute(2, struct.pack("=IIi", 1, 0, decision) + bytes(8)), dropped)


def police(exceeds):
    return action(b"police", attribute(1, struct.pack("=Ii", 1, exceeds) + bytes(48)))


def message(kind, options, *, pref=7, handle=1, chain=0):
    head = struct.pack("=BxxxiIII", 0, 5, handle, 0xFFFFFFF2, pref << 16 | 0x0300)
    more = attribute(11, struct.pack("=I", chain)) if chain else b""
    return head + attribute(1, kind.encode() + b"\0") + attribute(2, options) + more


def acting(number, *actions):
    return attribute(number, b"".join(attribute(n, a) for n, a in enumerate(actions, 1)))


@pytest.mark.parametrize(
    ("kind", "number"),
    [("matchall", 2), ("flower", 3), ("basic", 3), ("fw", 4), ("route", 6), ("u32", 7)],
)
def test_a_filter_that_drops_is_read(kind, number):
    told = message(kind, acting(number, gact(SHOT, 9)), handle=0x80000800)
    assert list(droppers_in(told)) == [Filter(7, 0x80000800, kind, "drop", dropped=9)]


def test_what_cannot_drop_is_left_out():
    assert not list(droppers_in(message("matchall", acting(2, gact(OK, 0)))))
    assert not list(droppers_in(message("matchall", acting(2, police(OK)))))
    assert not list(droppers_in(message("matchall", b"")))
    # The list that the filters of a pref are in.
    assert not list(droppers_in(message("u32", acting(7, gact(SHOT)), handle=0)))


def test_a_policer_among_other_actions_is_read():
    (found,) = droppers_in(message("flower", acting(3, gact(OK), police(SHOT)), chain=4))
    assert (found.chain, found.dropped) == (4, None)
    assert found.action.startswith("police")


def test_a_program_is_read_by_name_and_id():
    flags, name = attribute(8, struct.pack("=I", 1)), attribute(7, b"guard.o:[tc]\0")
    (found,) = droppers_in(message("bpf", flags + name + attribute(11, struct.pack("=I", 7))))
    assert found.action == "of its program guard.o:[tc] (id 7)"
    # One that only classifies decides nothing.
    assert not list(droppers_in(message("bpf", name)))
    act = action(b"bpf", attribute(6, b"act.o\0") + attribute(8, struct.pack("=I", 8)), 3)
    (found,) = droppers_in(message("bpf", name + acting(1, act)))
    assert (found.action, found.dropped) == ("of the program act.o (id 8)", 3)


@pytest.mark.parametrize("size", range(0, 120, 3))
def test_what_is_cut_short_raises_nothing(size):
    assert len(list(droppers_in(message("matchall", acting(2, gact(SHOT, 9)))[:size]))) <= 1


def test_handles_are_those_of_tc():
    assert Filter(1, 0x1F, "flower", "drop").handle_shown == "0x1f"
    assert Filter(1, 0x80000801, "u32", "drop").handle_shown == "800::801"
    assert Filter(1, 0x80012345, "u32", "drop").handle_shown == "800:12:345"


def test_only_a_filter_that_has_dropped_is_accused():
    found = explain(EXPECTED["tc-drop, by the only filter"][0]).finding
    assert "matchall, pref 7, handle 0x1, action drop" in found.summary
    assert found.confidence is Confidence.CERTAIN
    for name in ("by a program", "by one of several", "by very many"):
        assert "pref" not in explain(EXPECTED[f"tc-drop, {name}"][0]).finding.summary


def test_the_responder_is_never_accused():
    assert OUR_PREF == TC_PRIORITY
    ours = Filter(OUR_PREF, 1, "bpf", "of its program keepalive (id 3)")
    found = explain(by_tc(ours)).finding
    assert "tc filter show" in found.fix[0].command.text
    assert "pref 7" in explain(by_tc(ours, DROP)).finding.summary
