# SPDX-License-Identifier: GPL-2.0-only
"""What delivery and filtering advise, where one command or another would be right."""

from dataclasses import replace

import pytest

from gretrace.commands import Netns
from gretrace.kernel.ruleset import Chain, Match, Rule
from gretrace.model import Confidence, Where
from gretrace.verdicts import explain
from tests.frames import gre_packet, udp
from tests.unit.cases import A, B
from tests.unit.expected.delivery import EXPECTED, FINISH, GRE, OWN, STRANGER, host, inside
from tests.unit.expected.filtering import EXPECTED as FILTERED
from tests.unit.expected.filtering import (
    INNER_A,
    INNER_B,
    chain,
    firewalled,
    netfilter,
    outer,
    rule,
)
from tests.unit.host import LAN, at, by, on_tunnel


def finding(judged):
    return explain(judged).finding


def first(name):
    return finding(EXPECTED[name][0]).fix[0]


COMMANDS = {
    "rp-filter": "sysctl -w net.ipv4.conf.gre1.rp_filter=2",
    "rp-filter, no way back": f"ip route replace {STRANGER}/32 dev gre1",
    "rp-filter, our own address": "sysctl -w net.ipv4.conf.all.rp_filter=0",
    "rp-filter-outer": "sysctl -w net.ipv4.conf.vb.rp_filter=2",
    "martian-source": "sysctl -w net.ipv4.conf.gre1.accept_local=1",
    "martian-source, loopback": None,
    "keepalive-unanswered": "gretrace respond gre1",
    "keepalive-unanswered, xdp": "ip link set dev gre1 xdpgeneric off && gretrace respond gre1",
    "keepalive-unanswered, tc": "tc filter show dev gre1 ingress",
    "forwarding-off": "sysctl -w net.ipv4.ip_forward=1",
    "forwarding-off, IPv6": "sysctl -w net.ipv6.conf.all.forwarding=1",
    "forwarding-off, an address is missing": f"ip addr add {INNER_B}/32 dev gre1",
    "no-route": None,
    "mtu": "ip link set dev lan0 mtu 1400",
    "mtu, IPv6": "ip link set dev lan0 mtu 1420",
}


@pytest.mark.parametrize(("name", "command"), COMMANDS.items(), ids=COMMANDS)
def test_the_command(name, command):
    made = first(name).command
    assert (made and made.text) == command


def test_settings_are_made_in_the_right_namespace_and_by_names_that_sysctl_takes():
    judged = at(
        *(gre_packet(A, B), GRE),
        iif="eth0.7",
        netns=Netns("blue"),
        host=host(rp=(1, 0), device="eth0/7", routes={A: by(LAN, "lan0")}),
        place=FINISH,
        reason="IP_RPFILTER",
    )
    assert finding(judged).fix[0].command.text == (
        "ip netns exec blue sysctl -w net.ipv4.conf.eth0/7.rp_filter=2"
    )
    by_pid = replace(judged, netns=Netns(path="/proc/7/ns/net"))
    assert finding(by_pid).fix[0].command.text.startswith("nsenter --net=/proc/7/ns/net sysctl -w")


def test_loose_mode_is_no_help_on_a_device_without_addresses():
    judged = on_tunnel(
        *(inside(STRANGER), GRE),
        host=host(rp=(1, 1), own=(), routes={STRANGER: by(LAN, "lan0")}),
        place=FINISH,
        reason="IP_RPFILTER",
    )
    assert finding(judged).fix[0].command.text == (
        "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.gre1.rp_filter=0"
    )


def test_a_martian_that_rp_filter_would_refuse_next_gets_both():
    judged = on_tunnel(*(inside(OWN[1]), GRE), host=host(rp=(2, 1)), place=FINISH)
    fix = finding(judged).fix[0]
    assert fix.command.text == (
        "sysctl -w net.ipv4.conf.gre1.accept_local=1 net.ipv4.conf.all.rp_filter=0 "
        "net.ipv4.conf.gre1.rp_filter=0"
    )
    assert "rp_filter off" in fix.note


def test_the_kernels_own_way_to_answer_names_only_what_is_missing():
    fixes = finding(EXPECTED["keepalive-unanswered, rp_filter"][0]).fix
    assert fixes[1].command.text == (
        "sysctl -w net.ipv4.conf.gre1.forwarding=1 net.ipv4.conf.all.rp_filter=0 "
        "net.ipv4.conf.gre1.rp_filter=0"
    )
    over_ipv6 = finding(EXPECTED["keepalive-unanswered, ip6gre"][0]).fix
    assert over_ipv6[1].command.text == "sysctl -w net.ipv6.conf.all.forwarding=1"


def test_the_kernel_cannot_answer_on_a_device_without_ipv6():
    disabled = host()
    disabled.settings["net.ipv6.conf.gre1.disable_ipv6"] = 1
    judged = replace(EXPECTED["keepalive-unanswered, ip6gre"][0], host=disabled)
    assert finding(judged).fix[1].command.text == (
        "sysctl -w net.ipv6.conf.all.forwarding=1 net.ipv6.conf.gre1.disable_ipv6=0"
    )


def test_a_tcp_segment_that_is_too_long_is_clamped():
    fix = first("mtu, TCP")
    assert fix.command.text.startswith("nft 'add table inet gretrace;")
    assert fix.command.text.endswith("maxseg size set 1260'")


def test_what_is_too_long_for_another_tunnel_is_for_the_peer_to_mend():
    fix = first("mtu, IPv6 on its way into another tunnel")
    assert (fix.where, fix.command) == (Where.PEER, None)
    assert "mtu 1300" in fix.note


def test_the_only_rule_that_can_be_is_certain_and_named():
    told = finding(FILTERED["firewall-outer"][0])
    assert told.confidence is Confidence.CERTAIN
    assert "“gre drop” (handle 4) in chain c of table inet f" in told.summary
    assert (
        told.fix[0].command.text
        == f"nft 'insert rule inet f c ip saddr {A} meta l4proto gre accept'"
    )


def test_several_that_can_be_are_likely_and_all_mended():
    unknown = Match("ct state", ("invalid",))
    chains = (
        chain("input", rule("drop", unknown, text="invalid")),
        Chain("nft", "ip", "g", "d", hook="input", priority=5, policy="drop"),
    )
    told = finding(netfilter(udp(INNER_A, INNER_B), firewalled(*chains), netns=Netns("blue")))
    assert told.confidence is Confidence.LIKELY
    assert "one of 2 rules or policies" in told.summary
    assert told.fix[0].command.text == (
        'ip netns exec blue nft \'insert rule inet f c iifname "gre1" ip saddr 10.10.10.2 ip daddr '
        '10.10.10.1 accept; insert rule ip g d iifname "gre1" ip saddr 10.10.10.2 ip daddr '
        "10.10.10.1 accept'"
    )
    assert any("INVALID" in line for line in told.evidence)


def test_what_drops_for_certain_clears_what_comes_after():
    chains = (
        chain("input", rule("drop")),
        Chain("nft", "ip", "g", "d", hook="input", priority=5, policy="drop"),
    )
    told = finding(netfilter(udp(INNER_A, INNER_B), firewalled(*chains)))
    assert told.confidence is Confidence.CERTAIN
    # It would drop the packet next.
    assert "insert rule ip g d" in told.fix[0].command.text


def test_iptables_is_changed_by_iptables():
    legacy = Chain("iptables-legacy", "ip", "filter", "INPUT", hook="input", policy="drop")
    told = finding(netfilter(gre_packet(A, B), firewalled(legacy), outer))
    assert told.fix[0].command.text == f"iptables-legacy -t filter -I INPUT -p 47 -s {A} -j ACCEPT"
    within = finding(netfilter(udp(INNER_A, INNER_B), firewalled(legacy)))
    assert "-I INPUT -i gre1 -s 10.10.10.2 -d 10.10.10.1 -j ACCEPT" in within.fix[0].command.text


@pytest.mark.parametrize("chains", [(), (Chain("nft", "ip", "f", "c", (Rule("x", "accept"),)),)])
def test_a_drop_that_no_rule_explains_is_likely_and_says_so(chains):
    told = finding(netfilter(udp(INNER_A, INNER_B), firewalled(*chains)))
    assert told.confidence is Confidence.LIKELY
    assert "by no rule that can be read" in told.summary
    assert (told.fix[0].where, told.fix[0].command) == (Where.HERE, None)
