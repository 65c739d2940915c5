# SPDX-License-Identifier: GPL-2.0-only
"""Rules that clamp TCP segments: how they are read, and which direction they serve."""

import json

import pytest

from gretrace.checks.registry import State
from gretrace.checks.segments import tcp_segments
from gretrace.host.firewall.iptables import parse_iptables
from gretrace.host.firewall.nft import parse_nft
from gretrace.kernel.droppers import Ruleset
from gretrace.kernel.ruleset import FROM_ROUTE
from gretrace.kernel.segments import directions
from gretrace.model import Traffic
from tests.unit.cases import tunnel
from tests.unit.test_checks import machine

INTO, OUT_OF = "forwarded into gre1", "comes out of gre1"
RT_MTU = {"rt": {"key": "mtu"}}


def match(left, right, op="=="):
    return {"match": {"op": op, "left": left, "right": right}}


def device(key, name):
    return match({"meta": {"key": key}}, name)


SYN = match({"payload": {"protocol": "tcp", "field": "flags"}}, "syn", "in")


def clamp(value):
    option = {"tcp option": {"name": "maxseg", "field": "size"}}
    return {"mangle": {"key": option, "value": value}}


def nft(*rules, hook="forward"):
    where = {"family": "inet", "table": "t"}
    base = {"name": "c", "hook": hook, "type": "filter", "prio": -150, "policy": "accept"}
    told = [{"chain": {**where, **base}}]
    told += [{"rule": {**where, "chain": "c", "handle": 4, "expr": list(rule)}} for rule in rules]
    return Ruleset(parse_nft(json.dumps({"nftables": told})))


def iptables(*rules):
    text = "\n".join(["*mangle", ":FORWARD ACCEPT [0:0]", *(f"-A FORWARD {r}" for r in rules)])
    return Ruleset(parse_iptables(text, "iptables-legacy", "ip"))


TCPMSS = "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS"


@pytest.mark.parametrize(
    ("ruleset", "served"),
    [
        (nft(), []),
        (nft([SYN, clamp(1400)]), [INTO, OUT_OF]),
        (nft([SYN, clamp(1460)]), []),
        (nft([SYN, clamp(RT_MTU)]), [INTO, OUT_OF]),
        (nft([device("oifname", "gre1"), SYN, clamp(1400)]), [INTO]),
        (nft([device("iifname", "gre1"), SYN, clamp(1400)]), [OUT_OF]),
        (
            nft(
                [device("oifname", "gre1"), SYN, clamp(1400)],
                [device("iifname", "gre1"), SYN, clamp(RT_MTU)],
            ),
            [INTO, OUT_OF],
        ),
        (nft([device("oifname", "eth0"), SYN, clamp(1400)]), [OUT_OF]),
        (nft([device("oifname", {"set": ["gre1", "gre2"]}), SYN, clamp(1400)]), [INTO, OUT_OF]),
        (nft([SYN, clamp(1400)], hook="input"), []),
        (nft([SYN, clamp(1400)], hook="postrouting"), [INTO]),
        (nft([SYN, clamp(1400)], hook="prerouting"), [OUT_OF]),
        (nft([{"accept": None}], [SYN, clamp(1400)]), []),
        (nft([{"xt": {"type": "target", "name": "TCPMSS"}}]), [INTO, OUT_OF]),
        (iptables(f"{TCPMSS} --clamp-mss-to-pmtu"), [INTO, OUT_OF]),
        (iptables(f"-o gre1 {TCPMSS} --set-mss 1400"), [INTO]),
        (iptables(f"-i gre+ {TCPMSS} --set-mss 1400"), [OUT_OF, INTO]),
        (iptables(f"-o gre1 {TCPMSS} --set-mss 1500"), []),
        (iptables("-p udp -j TCPMSS --set-mss 1400"), []),
    ],
)
def test_which_direction_is_served(ruleset, served):
    ways = directions(ruleset, "gre1")
    found = [way.words for way in ways if way.serves(1436, trusts_route=True)]
    assert sorted(found) == sorted(
        f"TCP that is {s}" if "into" in s else f"TCP that {s}" for s in served
    )


def test_a_chain_that_is_jumped_to_is_gone_through():
    text = "*mangle\n:FORWARD ACCEPT\n:m -\n-A FORWARD -o gre1 -j m\n-A m -j m\n"
    text += f"-A m {TCPMSS} --set-mss 1300\n"
    into, out_of = directions(Ruleset(parse_iptables(text, "iptables-legacy", "ip")), "gre1")
    assert [one.size for one in into.clamps] == [1300]
    assert not out_of.clamps


def test_what_the_route_takes_is_of_no_use_where_the_route_is_wrong():
    into, _ = directions(nft([SYN, clamp(RT_MTU)]), "gre1")
    assert into.clamps[0].size == FROM_ROUTE
    assert into.serves(1436, trusts_route=True)
    assert not into.serves(1436, trusts_route=False)


def checked(ruleset, *, traffic=(5, 5), forwarding="1", **more):
    where = machine(
        tunnel(mtu=1476, **more), settings={"net.ipv4.conf.gre1.forwarding": forwarding}
    )
    where.table.traffic = lambda _ifindex: Traffic(*traffic)
    where.host.firewall = lambda: ruleset
    where.host.route = lambda _remote: type("Way", (), {"name": "eth0", "mtu": 1500})
    return list(tcp_segments(where))


def test_check_says_which_direction_is_missing_and_gives_one_rule():
    (said,) = checked(nft([device("oifname", "gre1"), SYN, clamp(RT_MTU)]))
    assert said.state is State.ABSENT
    assert "not clamped to 1436 bytes in TCP that comes out of gre1" in said.found
    assert INTO not in said.found
    assert str(said.remedy) == (
        "ip netns exec b nft 'add table inet gretrace; add chain inet gretrace clamp "
        "{ type filter hook forward priority mangle; }; add rule inet gretrace clamp "
        "tcp flags syn tcp option maxseg size set rt mtu'"
    )


def test_answers_that_leave_beside_the_tunnel_need_a_size():
    (said,) = checked(nft([SYN, clamp(RT_MTU)]), traffic=(5, 0))
    assert "in answers that leave by eth0" in said.found
    assert str(said.remedy).endswith("maxseg size set 1436'")
    (said,) = checked(nft([SYN, clamp(1400)]), traffic=(5, 0))
    assert said.state is State.OK


def test_a_greeting_is_no_answer():
    (said,) = checked(nft([SYN, clamp(RT_MTU)]), traffic=(5000, 3))
    assert "in answers that leave by eth0" in said.found
    (said,) = checked(nft([SYN, clamp(RT_MTU)]), traffic=(5000, 400))
    assert said.state is State.OK


def test_where_nothing_can_be_read_it_says_so():
    (said,) = checked(Ruleset(unread="without nft or iptables"))
    assert (said.state, said.remedy) == (State.ABSENT, None)
    assert "cannot be told without nft" in said.found


@pytest.mark.parametrize(
    "more", [{"forwarding": "0"}, {"up": False}, {"kind": "gretap"}, {"fallback": True}]
)
def test_only_forwarded_ip_is_looked_at(more):
    assert not checked(nft(), **more)
