# SPDX-License-Identifier: GPL-2.0-only
"""Numbers that stand under names here are IANA's, in each of the tables that has some."""

import pytest

from gretrace.kernel.ruleset import Match
from gretrace.verdicts import explain
from gretrace.verdicts.handlers import TAKERS
from gretrace.verdicts.words import describe_packet
from gretrace.wire.packet import parse_packet
from tests.frames import gre_packet, ipv4
from tests.unit.cases import A, B
from tests.unit.expected.delivery import EXPECTED

# The registry of Protocol Numbers, by the names that each of the tables has for them.
TAKEN = {
    "IP in IP": 4,
    "IPv6 in IP": 41,
    "ESP": 50,
    "AH": 51,
    "EIGRP": 88,
    "OSPF": 89,
    "PIM": 103,
    "VRRP": 112,
    "L2TPv3": 115,
    "SCTP": 132,
}
CARRIED = {
    "ICMP": 1,
    "IGMP": 2,
    "TCP": 6,
    "UDP": 17,
    "GRE": 47,
    "ESP": 50,
    "ICMPv6": 58,
    "EIGRP": 88,
    "OSPF": 89,
}
IN_RULES = {
    "icmp": 1,
    "igmp": 2,
    "ipencap": 4,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "eigrp": 88,
    "ospf": 89,
    "ospfigp": 89,
    "sctp": 132,
}


def test_what_takes_a_protocol():
    assert {name: number for number, (name, _) in TAKERS.items()} == TAKEN
    assert all(taker for _, taker in TAKERS.values())


@pytest.mark.parametrize("name", CARRIED)
def test_what_a_packet_carries(name):
    packet = gre_packet(A, B, ipv4("10.1.1.1", "10.1.1.2", CARRIED[name], bytes(8)))
    assert describe_packet(parse_packet(packet)).endswith(f"10.1.1.1 > 10.1.1.2, {name}.")


def test_a_protocol_without_a_name_is_a_number():
    packet = gre_packet(A, B, ipv4("10.1.1.1", "10.1.1.2", 200, bytes(8)))
    assert describe_packet(parse_packet(packet)).endswith("10.1.1.2, IP protocol 200.")


@pytest.mark.parametrize("name", IN_RULES)
def test_protocols_of_rules(name):
    for number in range(256):
        is_same = Match("l4proto", (name,)).fits({"l4proto": str(number)})
        assert is_same == (number == IN_RULES[name])
    assert Match("l4proto", ("unheard-of",)).fits({"l4proto": "47"}) is None


def test_what_nobody_takes_is_named():
    finding = explain(EXPECTED["no-handler, OSPF to this host"][0]).finding
    assert "OSPF" in finding.summary
