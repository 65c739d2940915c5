# SPDX-License-Identifier: GPL-2.0-only
"""What is advised where a tunnel over IPv6 cannot send."""

from dataclasses import replace

from gretrace.commands import Netns
from gretrace.model import Where
from gretrace.verdicts import explain
from tests.unit.expected.over_ipv6 import EXPECTED


def fix(name, netns=None):
    judged, _ = EXPECTED[name]
    (only,) = explain(replace(judged, netns=netns) if netns else judged).finding.fix
    return only


def test_it_is_bound_to_the_device_that_has_the_address():
    assert fix("tx-needs-device", Netns("b")).command.text == (
        "ip -n b link change dev gre1 type ip6gre local fe80::b remote fe80::a dev vb hoplimit 255"
    )
    assert fix("tx-needs-device, nobody has the address").command is None


def test_the_limit_is_said_though_it_is_the_default():
    assert fix("tx-encap-limit").command.text == (
        "ip link change dev gre2 type ip6gre local fd01::1 remote fd01::2 hoplimit 255 encaplimit 4"
    )


def test_the_limit_of_another_tunnel_is_left_alone():
    assert fix("tx-encap-limit, of a tunnel further inside").command is None
    assert fix("tx-encap-limit, of another host").where is Where.PEER
