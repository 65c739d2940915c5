# SPDX-License-Identifier: GPL-2.0-only
"""What the causes of sending advise: the values in their sentences and commands."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gretrace.commands import Netns
from gretrace.model import Confidence, Encap, Route, Where
from gretrace.verdicts import explain
from tests.unit.cases import VB, A, B
from tests.unit.expected.sending import (
    A6,
    B6,
    EXPECTED,
    GRE,
    KEYED,
    OTHER,
    OVER6,
    ROUTER,
    SILENCE,
    TAP,
    XMIT6,
    host,
    inside,
    left,
    outer,
    to_second,
    unsent,
    way,
)
from tests.unit.host import GRE1, by


def finding(judged):
    return explain(judged).finding


def refused(detour=None):
    return unsent(inside(), GRE, way(A, Route(error=101, detour=detour)))


def test_a_remote_is_routed_by_the_gateway_that_is_known():
    router = by(VB, "vb", gateway=ip_address(ROUTER))
    (fix,) = finding(refused(router)).fix
    assert fix.command.text == f"ip route replace {A}/32 via {ROUTER} dev vb"
    (fix,) = finding(refused(by(VB, "vb"))).fix
    assert fix.command.text == f"ip route replace {A}/32 dev vb"


def test_without_a_gateway_the_command_is_only_described():
    (fix,) = finding(refused()).fix
    assert fix.where is Where.HERE
    assert fix.command is None
    assert f"ip route replace {A}/32 via GATEWAY dev LINK" in fix.note


def test_a_loop_is_led_around_the_tunnel():
    detour = by(VB, "vb", gateway=ip_address(ROUTER))
    found = finding(unsent(inside(), GRE, way(A, by(GRE1, "gre1", detour=detour))))
    assert found.summary == f"The route to {A}, the remote of gre1, leads into gre1 itself."
    assert found.fix[0].command.text == f"ip route replace {A}/32 via {ROUTER} dev vb"
    detour6 = by(VB, "vb")
    over6 = way(A6, by(GRE1, "gre1", detour=detour6))
    found = finding(unsent(inside(), OVER6, over6, place=XMIT6))
    assert found.fix[0].command.text == f"ip route replace {A6}/128 dev vb"


def test_a_loop_of_two_names_both():
    assert finding(to_second(by(GRE1, "gre1"))).summary == (
        f"The route to {A}, of gre1, leads into gre2; that to {OTHER}, of gre2, into gre1."
    )


def test_an_address_that_is_gone_is_changed_or_given_back():
    fixes = finding(EXPECTED["tx-no-route, the local address is gone"][0]).fix
    assert fixes[0].command.text == f"ip link change dev gre1 type gre local {B} remote {A} ttl 255"
    assert fixes[1].command.text == f"ip addr add {B}/32 dev vb"
    unknown = unsent(inside(), GRE, host(OTHER, **{A: Route(error=101)}))
    (fix,) = finding(unknown).fix
    assert fix.command is None


@pytest.mark.parametrize(
    ("ours", "place", "mtu", "fits"),
    [
        (GRE, None, 1500, 1476),
        (KEYED, None, 1500, 1468),
        (replace(KEYED, oseq=True), None, 1500, 1464),
        (TAP, None, 1500, 1462),
        (OVER6, XMIT6, 1500, 1448),
        (replace(OVER6, kind="ip6gretap"), XMIT6, 1500, 1434),
        (replace(TAP, kind="erspan", erspan_version=1), None, 1500, 1450),
        (replace(TAP, kind="erspan", erspan_version=2), None, 1500, 1446),
        (replace(OVER6, encap_limit=None), XMIT6, 1500, 1456),
        (replace(GRE, encap=Encap("fou")), None, 1500, 1468),
        (GRE, None, 1400, 1376),
    ],
)
def test_the_mtu_that_fits(ours, place, mtu, fits):
    where = {"place": place} if place else {}
    asked = host(**{address: by(VB, "vb", mtu=mtu) for address in (A, A6)})
    found = finding(unsent(inside(1500), ours, asked, **where))
    assert found.fix[0].command.text == f"ip link set dev gre1 mtu {fits}"
    assert f"maxseg size set {fits - 40}" in found.fix[1].command.text
    assert f"only {fits} fit" in found.summary
    assert "1500 bytes was dropped" in found.summary


def test_segments_are_shorter_in_ipv6():
    found = finding(EXPECTED["tx-mtu, IPv6 inside"][0])
    assert f"maxseg size set {1476 - 60}" in found.fix[1].command.text


def test_the_commands_act_in_the_right_namespace():
    fixes = finding(unsent(inside(1500), GRE, host(), netns=Netns("blue"))).fix
    assert fixes[0].command.text == "ip -n blue link set dev gre1 mtu 1476"
    assert fixes[1].command.text.startswith("ip netns exec blue nft ")


def test_a_device_that_becomes_too_small_for_ipv6_is_warned_of():
    asked = way(A, by(VB, "vb", mtu=1300))
    assert "it carries no IPv6" in finding(unsent(inside(1500), GRE, asked)).fix[0].note
    assert "IPv6" not in finding(unsent(inside(1500), GRE, host())).fix[0].note


def test_a_silent_neighbour_is_looked_at():
    found = finding(EXPECTED["tx-no-neighbour"][0])
    assert found.fix[0].where is Where.PATH
    assert found.fix[0].command.text == f"ip neigh show {A} dev vb"
    assert found.confidence is Confidence.CERTAIN
    router = finding(EXPECTED["tx-no-neighbour, a router"][0])
    assert router.summary == (
        f"{ROUTER} does not answer ARP on vb, so what gre1 sends to {A} cannot leave."
    )
    over6 = finding(EXPECTED["tx-no-neighbour, over IPv6"][0])
    assert f"{A6} does not answer neighbour discovery" in over6.summary
    assert B6 in over6.evidence[1]


def test_a_queue_may_be_full_though_the_neighbour_answers():
    found = finding(EXPECTED["tx-no-neighbour, the queue is full"][0])
    assert found.confidence is Confidence.LIKELY


def test_a_tunnel_that_is_bound_to_the_wrong_link_is_told_of():
    bound = replace(GRE, link=VB, link_name="vb")
    found = finding(left(outer(), [bound], host(), place=SILENCE))
    assert any("gre1 is bound to vb" in line for line in found.evidence)
