# SPDX-License-Identifier: GPL-2.0-only
"""What the peer is to change, in the words of each vendor."""

import io
from dataclasses import replace
from ipaddress import ip_address

import pytest

from gretrace.model import Ask, Change, Fix, Where
from gretrace.render.peers import VENDORS, vendors_words
from gretrace.render.record import to_record
from gretrace.render.text import TextReports
from gretrace.verdicts import explain
from tests.frames import gre_packet
from tests.unit.cases import A, B, case, tunnel
from tests.unit.expected import EXPECTED
from tests.unit.test_render import report

# By cause: what the peer is asked to change in one of its settings.
ASKED = {
    "bad-checksum": {Change.NO_CHECKSUM},
    "checksum-policy": {Change.CHECKSUM, Change.NO_CHECKSUM},
    "ecn": {Change.TOS},
    "fragment-lost": {Change.MTU},
    "keepalive-unanswered": {Change.NO_KEEPALIVES},
    "key-mismatch": {Change.KEY},
    "key-missing": {Change.KEY},
    "key-unexpected": {Change.NO_KEY},
    "local-address-missing": {Change.DESTINATION},
    "local-mismatch": {Change.DESTINATION},
    "mtu": {Change.MTU, Change.MTU_IPV6},
    "no-handler": {Change.NO_CDP},
    "nat-remote": {Change.SOURCE},
    "no-tunnel": {Change.NO_TUNNEL, Change.DESTINATION},
    "sequence-policy": {Change.SEQUENCE},
    "wrong-type": {Change.MODE},
}
# What the peer is to do about these is no setting of its tunnel.
NO_SETTING = {
    "bridge-refused",
    "tx-wireguard",
    "encap-port-closed",
    "health-check-unanswered",
    "ipsec-policy",
    "malformed-gre",
    "martian-destination",
    "martian-source",
    "rp-filter",
    "truncated-inner",
    "tunnel-down",
    "tx-encap-limit",
    "unsupported-version",
}


def peers_fixes(judged):
    return [fix for fix in explain(judged).finding.fix if fix.where is Where.PEER]


def test_every_cause_that_the_peer_can_mend_asks_for_a_change_or_cannot():
    asked, unasked = {}, set()
    for name, (judged, _) in EXPECTED.items():
        cause = name.partition(",")[0]
        for fix in peers_fixes(judged):
            if fix.ask:
                asked.setdefault(cause, set()).add(fix.ask.change)
            else:
                unasked.add(cause)
    assert asked == ASKED
    assert unasked - asked.keys() == NO_SETTING


WORDS = {
    (Change.KEY, 5): {
        "cisco": ["interface TUNNEL", " tunnel key 5"],
        "junos": ["set interfaces TUNNEL unit UNIT tunnel key 5"],
        "vyos": ["set interfaces tunnel TUNNEL parameters ip key 5"],
        "linux": ["ip link change dev TUNNEL type gre okey 5"],
    },
    (Change.NO_KEY, None): {
        "cisco": ["interface TUNNEL", " no tunnel key"],
        "junos": ["delete interfaces TUNNEL unit UNIT tunnel key"],
        "vyos": ["delete interfaces tunnel TUNNEL parameters ip key"],
        "linux": ["ip link change dev TUNNEL type gre nookey"],
    },
    (Change.CHECKSUM, None): {
        "cisco": ["interface TUNNEL", " tunnel checksum"],
        "linux": ["ip link change dev TUNNEL type gre ocsum"],
    },
    (Change.NO_CHECKSUM, None): {
        "cisco": ["interface TUNNEL", " no tunnel checksum"],
        "linux": ["ip link change dev TUNNEL type gre noocsum"],
    },
    (Change.SEQUENCE, None): {
        "cisco": ["interface TUNNEL", " tunnel sequence-datagrams"],
        "linux": ["ip link change dev TUNNEL type gre oseq"],
    },
    (Change.SOURCE, ip_address(A)): {
        "cisco": ["interface TUNNEL", f" tunnel source {A}"],
        "junos": [f"set interfaces TUNNEL unit UNIT tunnel source {A}"],
        "routeros": [f"/interface gre set TUNNEL local-address={A}"],
        "vyos": [f"set interfaces tunnel TUNNEL source-address {A}"],
        "linux": [f"ip link change dev TUNNEL type gre local {A}"],
    },
    (Change.DESTINATION, ip_address(B)): {
        "cisco": ["interface TUNNEL", f" tunnel destination {B}"],
        "junos": [f"set interfaces TUNNEL unit UNIT tunnel destination {B}"],
        "routeros": [f"/interface gre set TUNNEL remote-address={B}"],
        "vyos": [f"set interfaces tunnel TUNNEL remote {B}"],
        "linux": [f"ip link change dev TUNNEL type gre remote {B}"],
    },
    (Change.DESTINATION, None): {
        "cisco": ["interface TUNNEL", " tunnel destination ADDRESS"],
        "junos": ["set interfaces TUNNEL unit UNIT tunnel destination ADDRESS"],
        "routeros": ["/interface gre set TUNNEL remote-address=ADDRESS"],
        "vyos": ["set interfaces tunnel TUNNEL remote ADDRESS"],
        "linux": ["ip link change dev TUNNEL type gre remote ADDRESS"],
    },
    (Change.MTU, 1400): {
        "cisco": ["interface TUNNEL", " ip mtu 1400"],
        "junos": ["set interfaces TUNNEL unit UNIT family inet mtu 1400"],
        "routeros": ["/interface gre set TUNNEL mtu=1400"],
        "vyos": ["set interfaces tunnel TUNNEL mtu 1400"],
        "linux": ["ip link set dev TUNNEL mtu 1400"],
    },
    (Change.MTU_IPV6, 1400): {
        "cisco": ["interface TUNNEL", " ipv6 mtu 1400"],
        "junos": ["set interfaces TUNNEL unit UNIT family inet6 mtu 1400"],
        "routeros": ["/interface gre set TUNNEL mtu=1400"],
        "vyos": ["set interfaces tunnel TUNNEL mtu 1400"],
        "linux": ["ip link set dev TUNNEL mtu 1400"],
    },
    (Change.TOS, None): {
        "vyos": ["delete interfaces tunnel TUNNEL parameters ip tos"],
        "linux": ["ip link change dev TUNNEL type gre tos inherit"],
    },
    (Change.MODE, None): {"cisco": ["interface TUNNEL", " tunnel mode gre ip"]},
    (Change.NO_KEEPALIVES, None): {
        "cisco": ["interface TUNNEL", " no keepalive"],
        "junos": ["delete protocols oam gre-tunnel interface TUNNEL.UNIT"],
        "routeros": ["/interface gre set TUNNEL !keepalive"],
    },
    (Change.NO_CDP, None): {"cisco": ["interface TUNNEL", " no cdp enable"]},
    (Change.NO_TUNNEL, None): {
        "cisco": ["no interface TUNNEL"],
        "junos": ["delete interfaces TUNNEL unit UNIT"],
        "routeros": ["/interface gre remove TUNNEL"],
        "vyos": ["delete interfaces tunnel TUNNEL"],
        "linux": ["ip link del dev TUNNEL"],
    },
}


def worded(*ask, **more):
    asked = Fix(Where.PEER, "Change it.", ask=Ask(*ask, **more))
    return {name: list(lines) for name, lines in vendors_words(asked).items()}


@pytest.mark.parametrize(("change", "value"), WORDS)
def test_words(change, value):
    assert worded(change, "gre", value) == WORDS[change, value]


def test_every_change_has_words():
    assert {change for change, _ in WORDS} == set(Change)


def test_one_setting_for_both_ways_is_not_told_where_only_one_is_wrong():
    assert list(worded(Change.KEY, "gre", 5, both_ways=False)) == ["linux"]
    assert list(worded(Change.NO_CHECKSUM, "gre", both_ways=False)) == ["linux"]
    assert "cisco" in worded(Change.SOURCE, "gre", ip_address(A), both_ways=False)


@pytest.mark.parametrize(
    ("kind", "vendors"),
    [
        ("gretap", ["vyos", "linux"]),
        ("ip6gre", ["cisco", "routeros", "vyos", "linux"]),
        ("erspan", ["linux"]),
    ],
)
def test_only_who_has_that_kind_of_tunnel_is_told(kind, vendors):
    assert list(worded(Change.SOURCE, kind, ip_address(A))) == vendors
    assert "vyos" not in worded(Change.KEY, kind, 5)


def test_over_ipv6_a_tunnel_is_called_otherwise():
    words = worded(Change.SOURCE, "ip6gre", ip_address("fd00::2"))
    assert words["routeros"] == ["/interface gre6 set TUNNEL local-address=fd00::2"]
    assert words["linux"] == ["ip link change dev TUNNEL type ip6gre local fd00::2"]


@pytest.mark.parametrize(
    ("ours", "both"), [({"key": 1}, True), ({"ikey": 1, "okey": 2}, False), ({"ikey": 1}, False)]
)
def test_keys_that_differ_by_direction_are_not_made_alike(ours, both):
    (fix,) = peers_fixes(case(gre_packet(A, B, key=9), tunnel(**ours)))
    assert fix.ask == Ask(Change.KEY, "gre", 1, both_ways=both)


def test_cdp_is_the_peers_to_end():
    (fix,) = peers_fixes(EXPECTED["no-handler, CDP"][0])
    assert fix.ask == Ask(Change.NO_CDP, "gre")


@pytest.mark.parametrize("peer", VENDORS)
def test_the_chosen_vendors_lines_stand_below_the_fix(peer):
    stream = io.StringIO()
    TextReports(stream, color=False, width=None, peer=peer).show("x", report())
    lines = stream.getvalue().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("  peer"))
    below = [line.removeprefix(" " * 10) for line in lines[at + 1 :]]
    expected = WORDS[Change.KEY, 5].get(peer)
    if expected is None:
        assert "TUNNEL" not in stream.getvalue()
        return
    assert below[0] == (
        f"On {VENDORS[peer].title}, where TUNNEL stands for what the tunnel is called:"
    )
    assert below[1 : 1 + len(expected)] == [line.replace("5", "1") for line in expected]


def test_without_a_vendor_the_text_has_none():
    stream = io.StringIO()
    TextReports(stream, color=False, width=None).show("x", report())
    assert "TUNNEL" not in stream.getvalue()


def test_json_has_all_vendors_of_what_is_the_peers():
    here, peer = to_record(report())["fix"]
    assert "vendors" not in here
    assert peer["vendors"] == {
        name: [line.replace("5", "1") for line in lines]
        for name, lines in WORDS[Change.KEY, 5].items()
    }
    nothing = explain(EXPECTED["malformed-gre, too short"][0])
    assert to_record(replace(report(), verdict=nothing))["fix"][0]["vendors"] == {}
