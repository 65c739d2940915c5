# SPDX-License-Identifier: GPL-2.0-only
"""What is read of a bridge's port, and said of it."""

import struct

import pytest

from gretrace.host import bridge as reading
from gretrace.model import BridgePort, Confidence
from gretrace.verdicts import explain
from tests.unit.expected.bridge import EXPECTED

RANGES = ((1, 1), (20, 30))


def attribute(kind, value):
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + bytes(-size % 4)


def entry(flags, vlan, last=None, *, kind=1):
    info = attribute(1, struct.pack("=HH", flags, vlan))
    return attribute(kind, info + (attribute(2, struct.pack("=H", last)) if last else b""))


def test_ranges_and_pvid_are_read():
    message = bytes(8) + entry(2, 1) + entry(0, 20, 30) + entry(0, 40, kind=2)
    assert list(reading._entries(message)) == [(2, 1, 1), (0, 20, 30)]


@pytest.mark.parametrize("size", range(8, 40))
def test_what_is_cut_short_is_the_end(size):
    message = bytes(8) + entry(2, 1) + entry(0, 20, 30)
    whole = [(2, 1, 1), (0, 20, 30)]
    assert list(reading._entries(message[:size])) in ([], whole[:1], whole)


@pytest.mark.parametrize(
    ("vlan", "pvid", "is_let_in"),
    [
        *((0, 1, True), (0, None, False), (0, 9, False)),
        *((1, None, True), (25, None, True), (31, 1, False)),
    ],
)
def test_which_frames_are_let_in(vlan, pvid, is_let_in):
    assert BridgePort("br0", 3, False, True, RANGES, pvid).admits(vlan) == is_let_in


def said(name):
    return explain(EXPECTED[name][0]).finding


def test_the_vlan_and_the_port_are_named():
    found = said("bridge-refused")
    assert "gre1 is a port of the bridge br0" in found.summary
    assert "does not let in frames of VLAN 10" in found.summary
    assert any("VLAN 1, 20-30, PVID 1, state forwarding" in line for line in found.evidence)
    assert found.fix[0].command.text == "bridge vlan add dev gre1 vid 10"
    assert found.confidence is Confidence.CERTAIN


def test_which_vlan_frames_without_a_tag_are_of_nobody_knows():
    found = said("bridge-refused, no tag and no PVID")
    assert "frames without a VLAN tag" in found.summary
    assert found.fix[0].command is None
    assert "`bridge vlan add dev gre1 vid VID pvid untagged`" in found.fix[0].note
    assert found.confidence is Confidence.CERTAIN


def test_a_tag_that_may_be_left_over_makes_it_likely():
    assert "without a VLAN tag" in said("bridge-refused, a tag or none").summary
    for name in ("bridge-refused, a tag or none", "bridge-refused, no VLAN at all"):
        assert said(name).confidence is Confidence.LIKELY


def test_a_port_is_set_to_forward_where_there_is_no_stp():
    for name, state in (("disabled", 0), ("blocking", 4)):
        found = said(f"bridge-refused, the port is {name}")
        assert f"the port is {name}" in found.summary, state
        assert found.fix[0].command.text == "bridge link set dev gre1 state 3"
