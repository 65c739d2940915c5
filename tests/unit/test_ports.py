# SPDX-License-Identifier: GPL-2.0-only
"""What is said of a closed port of FOU or GUE."""

import pytest

from gretrace.model import Confidence, Where
from gretrace.verdicts import explain
from tests.unit.expected.ports import EXPECTED

TOLD = {
    "encap-port-closed": ("certain", "ip fou add port 5555 ipproto 47", 1),
    "encap-port-closed, GUE": ("certain", "ip fou add port 5555 gue", 1),
    "encap-port-closed, over IPv6": ("certain", "ip fou add port 5555 gue -6", 1),
    "encap-port-closed, in a VRF": (
        "certain",
        "sysctl -w net.ipv4.udp_l3mdev_accept=1 && ip fou add port 5555 ipproto 47",
        1,
    ),
    "encap-port-closed, the tunnel sends to another": (
        *("certain", "ip fou add port 5555 ipproto 47"),
        2,
    ),
    "encap-port-closed, the tunnel sends without UDP": (
        *("likely", "ip fou add port 5555 ipproto 47"),
        2,
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_the_command_opens_it(name):
    judged, _ = EXPECTED[name]
    finding = explain(judged).finding
    sure, command, fixes = TOLD[name]
    assert finding.confidence == Confidence(sure)
    assert finding.fix[0].command.text == command
    assert [fix.where for fix in finding.fix] == [Where.HERE, Where.PEER][:fixes]
    assert "UDP port 5555" in finding.summary
