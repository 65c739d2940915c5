# SPDX-License-Identifier: GPL-2.0-only
"""What is printed to be typed, where the cause alone does not tell that it is right."""

import pytest

from gretrace.commands import HERE
from gretrace.model import Confidence, Encap, Place, Where
from gretrace.verdicts import explain
from gretrace.verdicts.words import change_command
from tests.frames import gre_packet
from tests.unit.cases import A, B, case, tunnel
from tests.unit.expected import delivery, elsewhere, filtering, header, labels, lookup, refused


def finding(family, name):
    return explain(family.EXPECTED[name][0]).finding


def commands(family, name):
    return [fix.command and fix.command.text for fix in finding(family, name).fix]


def test_a_module_is_loaded_where_it_can_be():
    assert commands(header, "no-gre-module") == ["modprobe ip_gre"]
    nothing_to_load = finding(header, "no-gre-module, none to load").fix
    assert [fix.command for fix in nothing_to_load] == [None]
    assert "CONFIG_NET_IPGRE" in nothing_to_load[0].note
    assert "CONFIG_IPV6_GRE" in finding(header, "no-gre-module, over IPv6").fix[0].note


def test_a_bare_answer_needs_no_mending():
    bare = finding(header, "malformed-gre, a bare keepalive answer")
    assert [(fix.where, fix.command) for fix in bare.fix] == [(Where.HERE, None)]
    assert "4 bytes of GRE with protocol 0" in bare.summary
    assert "8 bytes" in finding(header, "malformed-gre, the same with a key").summary
    assert finding(header, "malformed-gre, too short").fix[0].where is Where.PEER


def test_pptp_is_loaded_where_it_can_be():
    there = finding(header, "unsupported-version, pptp is there")
    assert there.fix[0].command.text == "modprobe pptp"
    assert "PPTP" in there.summary
    assert "no RFC" in finding(header, "unsupported-version, of no RFC").summary


def test_a_checksum_that_could_not_be_computed_makes_the_verdict_likely():
    assert finding(header, "bad-checksum").confidence is Confidence.CERTAIN
    unverified = finding(header, "bad-checksum, too long to verify")
    assert unverified.confidence is Confidence.LIKELY


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sequence-policy", "noiseq "),
        ("sequence-old", "noiseq "),
        ("sequence-old, over IPv6", "noiseq hoplimit 255"),
    ],
)
def test_only_what_is_received_is_changed(name, words):
    command = commands(refused, name)[0]
    assert words in f"{command} "
    assert "ocsum" not in command.replace("noicsum", "")
    assert "oseq" not in command


def test_over_ipv6_nothing_is_said_that_iproute2_does_not_know():
    for name in ("key-mismatch", "key-missing", "key-unexpected", "local-mismatch"):
        command = commands(lookup, f"{name}, over IPv6")[0]
        assert command.startswith("ip link change dev gre1 type ip6gre local fd00::")
        assert command.endswith(" hoplimit 255")
    assert "type ip6gre " in commands(lookup, "no-tunnel, over IPv6")[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"encap_limit": None}, " hoplimit 255 encaplimit none"),
        ({"encap_limit": 0}, " hoplimit 255 encaplimit 0"),
        ({"kind": "ip6erspan", "erspan_version": 2}, " erspan_ver 2 okey 1 hoplimit 255"),
    ],
)
def test_what_ip_would_change_unless_it_is_told(more, words):
    ours = tunnel(**{"kind": "ip6gre", "local": "fd00::1", "remote": "fd00::2", "okey": 1, **more})
    assert change_command(HERE, ours).text.endswith(words)


def test_a_tunnel_in_udp_stays_in_udp():
    ours = tunnel(encap=Encap("gue", dport=6080, csum=True, csum6=True, remcsum=True))
    udp = "encap-csum encap-udp6-csum encap-remcsum"
    words = f"ttl 255 encap gue encap-sport auto encap-dport 6080 {udp}"
    assert change_command(HERE, ours).text.endswith(words)


@pytest.mark.parametrize(("csum6", "words"), [(True, ""), (False, " noencap-udp6-csum")])
def test_over_ipv6_iproute2_sums_udp_by_itself(csum6, words):
    ours = tunnel(
        kind="ip6gre",
        local="fd00::1",
        remote="fd00::2",
        encap=Encap("fou", dport=5555, csum6=csum6),
    )
    text = change_command(HERE, ours).text
    assert text.endswith(f"hoplimit 255 encap fou encap-sport auto encap-dport 5555{words}")


def test_checksums_become_those_of_the_peer_both_ways():
    assert "remote 20.1.1.2 icsum ocsum " in f"{commands(refused, 'checksum-policy')[0]} "


def test_checksums_of_ours_that_the_peer_does_not_want_go_both_ways():
    ours = tunnel(icsum=True, ocsum=True)
    refusal = case(gre_packet(A, B), ours, place=Place("ip_tunnel_rcv", "ip_tunnel"))
    assert "noicsum noocsum" in explain(refusal).finding.fix[0].command.text


def test_a_checksum_that_is_received_only_stays_so():
    ours = tunnel(icsum=True)
    refusal = case(gre_packet(A, B), ours, place=Place("ip_tunnel_rcv", "ip_tunnel"))
    assert "ocsum" not in explain(refusal).finding.fix[0].command.text.replace("noicsum", "")


def test_a_tunnel_is_made_anew_as_what_the_peer_sends():
    assert "type gretap " in commands(lookup, "wrong-type, frames in gre")[0]
    assert "type ip6erspan " in commands(lookup, "wrong-type, ERSPAN in ip6gre")[0]
    # erspan_validate() of net/ipv4/ip_gre.c insists on numbers.
    assert (
        "type erspan local 20.1.1.1 remote 20.1.1.2 ikey 7 okey 7 iseq oseq"
        in (commands(lookup, "wrong-type, ERSPAN to gretap")[0])
    )
    nobody_takes_it = finding(lookup, "no-handler, no EtherType")
    assert [(fix.where, fix.command) for fix in nobody_takes_it.fix] == [(Where.PEER, None)]


def test_who_speaks_nhrp_is_missing_here():
    (fix,) = finding(lookup, "no-handler").fix
    assert fix.where is Where.HERE
    assert "DMVPN" in fix.note


def test_a_tunnel_is_made_where_its_packets_arrive():
    made = "ip link add dev gre1 type gre local 20.1.1.1 remote 20.1.1.2 ikey 1 okey 1 ttl 255"
    assert commands(elsewhere, "wrong-netns")[0] == (
        f"ip -n blue link del dev gre1 && {made} && ip link set dev gre1 netns blue && "
        "ip -n blue link set dev gre1 up"
    )
    of_process = commands(elsewhere, "wrong-netns, of a process")[0]
    assert of_process.startswith("nsenter --net=/proc/123/ns/net ip link del dev gre1 && ")
    assert (
        "link set dev gre1 netns $$ && ip link set dev gre1 up"
        in (commands(elsewhere, "wrong-netns, the caller's own")[0])
    )
    assert commands(elsewhere, "wrong-netns, its name is taken here")[0].startswith(
        "ip link add dev gre2 "
    )
    assert commands(elsewhere, "wrong-netns, moved here") == [
        f"ip link del dev gre1 && {made} && ip link set dev gre1 up"
    ]


def test_only_a_refused_packet_tells_which_tunnel_the_fallback_stands_for():
    assert finding(elsewhere, "fallback-taken").tunnel == "gre0"
    refused_by_it = finding(elsewhere, "fallback-taken, it was refused")
    assert any("differs in its key" in line for line in refused_by_it.evidence)
    for name in ("fallback-taken", "fallback-taken, it was refused"):
        assert commands(elsewhere, name)[0] == "ip link set dev gre0 down"


def test_a_tunnel_for_erspan_is_numbered():
    judged = case(
        lookup.gre_packet(
            lookup.A, lookup.B, lookup.ERSPAN_HEADER + lookup.FRAME, protocol=0x88BE, sequence=0
        ),
        tunnel(remote="20.1.1.98", local="20.1.1.99"),
    )
    assert "type erspan local 20.1.1.1 remote 20.1.1.2 ikey 7 okey 7 iseq oseq" in (
        explain(judged).finding.fix[0].command.text
    )


def test_a_vrf_has_its_own_rules_settings_and_routes():
    by_vrf = finding(filtering, "firewall, in a VRF")
    assert "at input" in by_vrf.summary
    assert 'insert rule inet f c iifname "vrf1" ip saddr' in by_vrf.fix[0].command.text
    # That hook is gone through twice, by the one device and the other.
    before = finding(filtering, "firewall, in a VRF, before the route")
    assert "insert rule inet f c ip saddr" in before.fix[0].command.text
    route, _ = finding(delivery, "rp-filter, in a VRF").fix
    assert route.command.text == "ip route replace vrf vrf1 99.9.9.9/32 dev gre1"


def test_on_the_way_out_a_rule_is_one_of_that_hook():
    leaving = finding(filtering, "firewall, on the way out of another device")
    assert "at postrouting or egress" in leaving.summary
    assert 'oifname "lan0" ip saddr' in leaving.fix[0].command.text


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("mpls", "sysctl -w net.mpls.conf.gre1.input=1"),
        ("mpls, no route", "ip -f mpls route add 100 dev lo"),
        ("mpls, off on lo", "sysctl -w net.mpls.conf.lo.input=1"),
        (
            "mpls, no room for the label",
            "sysctl -w net.mpls.platform_labels=1024 && ip -f mpls route add 300 dev lo",
        ),
        ("mpls, more labels", None),
        ("mpls, explicit null", "sysctl -w net.mpls.platform_labels=1024"),
        ("mpls, reserved", None),
        (
            "mpls, the module is not loaded",
            (
                "modprobe mpls_router && sysctl -w net.mpls.conf.gre1.input=1 && "
                "sysctl -w net.mpls.platform_labels=1024 && ip -f mpls route add 100 dev lo"
            ),
        ),
        ("mpls, it has been loaded since", None),
        ("mpls, there is no module", None),
    ],
)
def test_mpls_gets_as_far_as_it_can(name, command):
    assert commands(labels, name) == [command]


def test_the_types_of_erspan_are_told_apart_by_their_session():
    def told(name):
        finding = explain(lookup.EXPECTED[name][0]).finding
        return finding.summary, finding.fix[0].command.text, finding.fix[-1].note

    summary, command, peer = told("wrong-type, ERSPAN type I to one of type II")
    assert "gre1 is of ERSPAN type II, but" in summary
    assert "of type I, with no session" in summary
    assert "type erspan local 20.1.1.1 remote 20.1.1.2 erspan_ver 0 ttl 255" in command
    assert "send ERSPAN type II." in peer
    summary, command, peer = told("wrong-type, ERSPAN type II to one of type I")
    assert "gre1 is of ERSPAN type I, but" in summary
    assert "of type II, with session 7" in summary
    assert "ikey 7 okey 7 iseq oseq" in command
    summary, _, peer = told("key-mismatch, sessions of ERSPAN")
    assert "expects session 8, but" in summary
    assert "erspan-id" in peer
