# SPDX-License-Identifier: GPL-2.0-only
"""Every verdict over tables of tunnels and packets; no kernel, no root."""

import re
from dataclasses import replace

import pytest

from gretrace.commands import Netns
from gretrace.kernel.lookup import Tables
from gretrace.kernel.quiet import concerned, quiet
from gretrace.model import Confidence, Encap, Place, Traffic, Where
from gretrace.verdicts import CAUSES, Case, explain
from tests.frames import gre_packet, ipv4, ipv6
from tests.unit.cases import ONCE_HEARD, A, B, case, tunnel
from tests.unit.expected import EXPECTED, FAMILIES, ports

OTHER = "20.1.1.99"
A6 = "fd10::2"
NATTED = gre_packet("20.1.1.254", B, key=1)


def keyed(key):
    return gre_packet(A, B, key=key)


@pytest.mark.parametrize(("name", "judged", "tunnel_name"), [(n, *e) for n, e in EXPECTED.items()])
def test_verdict(name, judged, tunnel_name):
    verdict = explain(judged)
    assert verdict.cause == name.partition(",")[0]
    assert verdict.finding.tunnel == tunnel_name
    assert verdict.finding.summary.endswith(".")
    assert verdict.finding.evidence
    assert verdict.finding.fix, "empty advice is no advice"


@pytest.mark.parametrize("judged", [judged for judged, _ in EXPECTED.values()], ids=EXPECTED)
def test_nothing_in_a_command_stands_for_what_is_not_known(judged):
    for fix in explain(judged).finding.fix:
        assert not re.search(r"\b[A-Z]{2,}\b", fix.command.text if fix.command else ""), fix


def test_what_was_judged_before_changes_no_verdict():
    for _ in range(2):
        for name, (judged, _) in sorted(EXPECTED.items(), reverse=True):
            assert explain(judged).cause == name.partition(",")[0]
            assert explain(judged).cause == name.partition(",")[0]
    assert CAUSES[-1].name == "other"


def test_every_cause_has_a_case():
    assert {name.partition(",")[0] for name in EXPECTED} == {cause.name for cause in CAUSES}


def test_no_two_causes_recognise_the_same_drop():
    assert len(EXPECTED) == sum(len(family.EXPECTED) for family in FAMILIES)
    for name, (judged, _) in EXPECTED.items():
        claims = [c.name for c in CAUSES if not c.last_resort and c.recognise(judged)]
        assert len(claims) <= 1, (name, claims)


def command(judged):
    return explain(judged).finding.fix[0].command.text


def test_the_command_repeats_every_attribute():
    ours = tunnel(
        key=1, icsum=True, ocsum=True, iseq=True, oseq=True, link=3, link_name="eth0",
        ttl=64, tos=0x10, pmtudisc=False, ignore_df=True,
    )  # fmt: skip
    assert command(case(gre_packet(A, B, key=2), ours)) == (
        "ip link change dev gre1 type gre local 20.1.1.1 remote 20.1.1.2 ikey 2 okey 2 "
        "icsum ocsum iseq oseq dev eth0 ttl 64 tos 0x10 nopmtudisc ignore-df"
    )


def test_a_removed_key_is_said():
    assert "noikey nookey" in command(case(keyed(None), tunnel(key=1)))


def test_keys_that_differ_by_intent_stay_so():
    ours = tunnel(ikey=1, okey=9)
    assert "ikey 2 okey 9" in command(case(keyed(2), ours))
    only_ours = command(case(keyed(None), ours))
    assert "noikey" in only_ours
    assert "okey 9" in only_ours


def test_wildcards_are_written_as_any():
    # The remote must be given, even where it is any.
    assert "local any remote 20.1.1.2" in command(case(keyed(2), tunnel(key=1, local=None)))


def test_the_command_acts_in_the_right_namespace():
    judged = case(keyed(1), tunnel(key=1, up=False), netns=Netns("blue"))
    assert command(judged) == "ip -n blue link set dev gre1 up"


def test_a_new_tunnel_gets_a_free_name_and_the_packets_own_values():
    far = tunnel("gre1", remote=OTHER, local=OTHER, key=9)
    assert command(case(keyed(2), far)) == (
        "ip link add dev gre2 type gre local 20.1.1.1 remote 20.1.1.2 ikey 2 okey 2 ttl 255"
        " && ip link set dev gre2 up"
    )
    assert "type gretap" in command(case(gre_packet(A, B, bytes(60), protocol=0x6558)))


def test_a_tunnel_that_is_down_too_is_set_up_as_well():
    fixes = explain(case(keyed(2), tunnel(key=1, up=False))).finding.fix
    assert [fix.where for fix in fixes] == [Where.HERE, Where.HERE, Where.PEER]
    assert fixes[1].command.text == "ip link set dev gre1 up"


IN_USE = Traffic(received=9, sent=5, received_while_watching=2)


@pytest.mark.parametrize("packet", [keyed(2), keyed(None), gre_packet(A, OTHER, key=1)])
def test_a_tunnel_that_is_in_use_is_left_alone(packet):
    """The peer has a second tunnel, whose counterpart is missing here."""
    finding = explain(case(packet, tunnel(key=1), traffic={10: IN_USE})).finding
    assert finding.tunnel == "gre1"
    assert finding.confidence is Confidence.LIKELY
    assert finding.fix[0].command.text.startswith("ip link add dev gre2 type gre")
    assert not any("change" in str(fix.command) for fix in finding.fix)


def test_what_was_heard_once_may_have_changed_for_good():
    finding = explain(case(keyed(2), tunnel(key=1), traffic={10: ONCE_HEARD})).finding
    assert finding.confidence is Confidence.LIKELY
    first, *_, last = finding.fix
    assert first.command.text.startswith("ip link add dev gre2")
    assert "own peer that has changed" in last.note
    assert last.command.text.startswith("ip link change dev gre1")


def test_no_command_changes_one_of_several_that_are_as_near():
    several = [tunnel(f"gre{n}", key=n, ifindex=10 + n) for n in range(1, 6)]
    finding = explain(case(keyed(9), *several)).finding
    assert "gre1, gre2, gre3, gre4 and gre5" in finding.summary
    assert finding.confidence is Confidence.LIKELY
    assert finding.fix[0].command.text.startswith("ip link add dev gre6")
    assert not any("change" in str(fix.command) for fix in finding.fix)


def test_very_many_that_are_as_near_are_counted():
    several = [tunnel(f"gre{n}", key=n, ifindex=10 + n) for n in range(1, 31)]
    assert ", and 14 more," in explain(case(keyed(99), *several)).finding.summary


def test_nat_advises_here_path_and_peer():
    finding = explain(EXPECTED["nat-remote"][0]).finding
    assert [fix.where for fix in finding.fix] == [Where.HERE, Where.PATH, Where.PEER]
    assert "remote 20.1.1.254" in finding.fix[0].command.text
    assert finding.confidence is Confidence.CERTAIN
    assert "gre1 has sent 5 packets and never received one." in finding.evidence


def test_nat_is_only_likely_when_the_tunnel_was_heard_before():
    finding = explain(EXPECTED["nat-remote, fell silent"][0]).finding
    assert finding.confidence is Confidence.LIKELY


def test_a_rival_makes_the_verdict_likely_and_is_named():
    judged = case(keyed(2), tunnel(key=1), tunnel("gre2", remote=OTHER, key=2, ifindex=11))
    finding = explain(judged).finding
    assert finding.confidence is Confidence.LIKELY
    assert any("by its remote: gre2" in line for line in finding.evidence)


def test_a_checksum_that_cannot_be_verified_makes_the_verdict_likely():
    data = gre_packet(A, B, bytes(range(200)), key=2, checksum=True)
    sample = case(data[:128], tunnel(key=1), length=len(data))
    assert explain(sample).finding.confidence is Confidence.LIKELY
    whole = case(data, tunnel(key=1))
    assert explain(whole).finding.confidence is Confidence.CERTAIN
    broken = case(data[:-1] + b"\0", tunnel(key=1))
    assert explain(broken).cause == "bad-checksum"


def test_without_the_tunnels_nothing_is_claimed():
    judged = case(keyed(2), tunnel(key=1))
    assert explain(Case(judged.drop, None, iif="vb")).cause == "other"


def test_the_tunnel_that_refused_the_packet_is_named():
    refused = case(keyed(1), tunnel(key=1), place=Place("ip_tunnel_rcv", "ip_tunnel"))
    assert explain(refused).finding.tunnel == "gre1"


def test_the_path_ends_where_the_packet_died():
    assert explain(case(keyed(2), tunnel(key=1))).finding.path == (
        "vb",
        "gre_rcv",
        "parse",
        "lookup",
    )
    elsewhere = case(keyed(2), tunnel(key=1), place=Place("ip_defrag", "nf_defrag_ipv4"))
    assert explain(elsewhere).finding.path == ("vb", "ip_defrag [nf_defrag_ipv4]")


@pytest.mark.parametrize(
    ("function", "on_tunnel", "is_quiet"),
    [
        ("tpacket_rcv", False, True),
        ("skb_release_data", True, True),
        ("icmpv6_rcv", True, True),
        ("icmpv6_rcv", False, False),
        ("tcp_v4_rcv", True, True),
        ("ip_rcv_finish_core", True, False),
        ("ip6_mc_input", True, False),
        ("gre_rcv", False, False),
    ],
)
def test_quiet_places(function, on_tunnel, is_quiet):
    judged = case(keyed(1), place=Place(function), on_tunnel=on_tunnel)
    assert bool(quiet(judged.drop, None)) == is_quiet


def test_multicast_that_nobody_joined_is_quiet_unless_a_reason_says_more():
    hello = ipv4(A, "224.0.0.5", 89, bytes(44))
    place = Place("ip_rcv_finish_core")
    assert quiet(case(hello, place=place, on_tunnel=True).drop, None)
    assert not quiet(case(hello, place=place, on_tunnel=True, reason="IP_RPFILTER").drop, None)


def test_udp_is_told_of_only_where_a_tunnel_waits_for_it_or_has_sent_it():
    ours, port = ports.OURS, ports.PORT
    fallback = tunnel("gre0", local=None, remote=None, fallback=True)
    closed = ports.closed(ports.fou(), ours).drop
    assert concerned(closed, Tables([ours])) == ours
    assert concerned(closed, Tables([tunnel(key=2)])) is None
    assert quiet(closed, None)
    assert quiet(closed, fallback)
    assert not quiet(closed, ours)
    assert not quiet(replace(closed, reason="UDP_CSUM"), None)
    sent = ports.closed(ports.fou(key=1, ends=(B, A)), ours, reason="NEIGH_FAILED").drop
    sent = replace(sent, is_sent=True)
    assert concerned(sent, Tables([ours])) == ours
    assert concerned(sent, Tables([replace(ours, encap=Encap("fou", dport=port + 1))])) is None
    assert concerned(sent, Tables([replace(ours, encap=None)])) is None
    assert quiet(sent, None)


TAP, MONITOR, ANYWHERE = tunnel(kind="gretap"), tunnel(kind="erspan"), tunnel(remote=None)
CORE, SPOKEN = Place("__netif_receive_skb_core"), {"reason": "UNHANDLED_PROTO"}
LAST = ipv4(A, "9.9.9.9", 17, bytes(8), ttl=1)
ROUTERS = ipv6("fe80::1", "ff02::2", 58, bytes([133]) + bytes(7))


@pytest.mark.parametrize(
    ("packet", "on", "more", "is_quiet"),
    [
        (keyed(1), TAP, {"place": CORE, **SPOKEN}, True),
        (keyed(1), tunnel(), {"place": CORE, **SPOKEN}, False),
        (keyed(1), TAP, {"place": Place("br_handle_frame_finish")}, True),
        (keyed(1), TAP, {"place": Place("br_handle_frame_finish"), "reason": "TC_INGRESS"}, False),
        (keyed(1), MONITOR, {"place": Place("ip_error")}, True),
        (keyed(1), MONITOR, {"place": Place("ip_error"), "is_sent": True}, False),
        (keyed(1), MONITOR, {"place": CORE, "reason": "TC_INGRESS"}, False),
        (keyed(1), MONITOR, {"place": Place("__ip6_tnl_rcv")}, False),
        (LAST, tunnel(), {"place": Place("ip_forward")}, True),
        (ipv4(A, "9.9.9.9", 17, bytes(8)), tunnel(), {"place": Place("ip_forward")}, False),
        (keyed(1), tunnel(), {"reason": "IP_NOPROTO"}, False),
        (ipv4(A, "224.0.0.5", 89, bytes(44)), tunnel(), {"reason": "IP_NOPROTO"}, True),
        (ipv4(A, "255.255.255.255", 89, bytes(44)), tunnel(), {"reason": "IP_NOPROTO"}, True),
        (ipv6(A6, "ff02::5", 89, bytes(44)), tunnel(), {"reason": "IP_NOPROTO"}, True),
        (ipv6(A6, "fd10::1", 89, bytes(44)), tunnel(), {"reason": "IP_NOPROTO"}, False),
        (keyed(1), tunnel(), {"reason": "OTHERHOST"}, True),
        (ROUTERS, ANYWHERE, {"place": Place("ip6_finish_output2"), "is_sent": True}, True),
        (ROUTERS, tunnel(), {"place": Place("ip6_finish_output2"), "is_sent": True}, False),
    ],
)  # fmt: skip
def test_what_healthy_networks_free_is_quiet(packet, on, more, is_quiet):
    assert bool(quiet(case(packet, on, on_tunnel=True, **more).drop, on)) == is_quiet
