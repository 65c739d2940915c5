# SPDX-License-Identifier: GPL-2.0-only
"""What is said of fragments that are lost."""

from gretrace.model import Confidence, Where
from gretrace.verdicts import explain
from tests.unit.expected.fragments import EXPECTED, GRE, LATER, PURGE, lost


def finding(name):
    return explain(EXPECTED[name][0]).finding


def test_the_mtu_that_needs_no_fragments_is_told():
    told = finding("fragment-lost")
    # 1300 bytes came, of which IP and GRE with a key take 28.
    assert "an MTU of 1272," in told.fix[0].note
    assert told.fix[0].where is Where.PEER
    assert "maxseg size set 1232" in told.fix[1].command.text
    assert "within 30 s" in told.summary
    assert "within 60 s" in finding("fragment-lost, before conntrack").summary
    # 1324 bytes with the fragment header; IPv6, GRE and the option take 52.
    assert "an MTU of 1272," in finding("fragment-lost, over IPv6").fix[0].note


def test_a_later_fragment_tells_no_mtu():
    told = finding("fragment-lost, a later one came")
    assert "an MTU of" not in str(told.fix)
    assert "a later fragment came" in told.summary
    assert told.confidence is Confidence.CERTAIN


def test_without_a_reason_a_later_fragment_may_have_ended_otherwise():
    told = explain(lost(LATER, GRE, place=PURGE, reason="NOT_SPECIFIED")).finding
    assert told.confidence is Confidence.LIKELY
    assert finding("fragment-lost, without a reason").confidence is Confidence.CERTAIN


def test_it_is_said_that_the_device_is_not_known():
    told = finding("fragment-lost, in a namespace that is not known")
    assert "had not kept by which device" in str(told.evidence)
