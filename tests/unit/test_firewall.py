# SPDX-License-Identifier: GPL-2.0-only
"""Rulesets as nft and iptables write them, and what of them can have dropped a packet."""

import json
import time
import tracemalloc

import pytest

from gretrace.host import firewall
from gretrace.host.firewall import NO_TOOL, Rulesets, listing, read_ruleset
from gretrace.host.firewall.iptables import parse_iptables
from gretrace.host.firewall.nft import parse_nft
from gretrace.host.namespaces import Namespace, own_namespace
from gretrace.kernel.droppers import Ruleset
from gretrace.kernel.ruleset import Chain, Match, Rule

FACTS = {
    "nfproto": "ipv4", "l4proto": "47", "saddr": "20.1.1.2", "daddr": "20.1.1.1", "iifname": "vb",
}  # fmt: skip


def payload(protocol, field):
    return {"payload": {"protocol": protocol, "field": field}}


def meta(key):
    return {"meta": {"key": key}}


def match(left, right, op="=="):
    return {"match": {"op": op, "left": left, "right": right}}


CT = {"ct": {"key": "state"}}
DROP, ACCEPT = {"drop": None}, {"accept": None}
BASE = {"type": "filter", "hook": "input", "prio": 0, "policy": "accept"}


def find_droppers(chains, hooks, facts):
    return [list(found) for found in Ruleset(chains).droppers(hooks, facts).droppers]


def listed(*rules, chain="c", **base):
    """What `nft -j list ruleset` says of one table with a base chain and a chain `sub`."""
    of = {"family": "inet", "table": "f"}
    objects = [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "f", "handle": 1}},
        {"chain": {**of, "name": "sub", "handle": 1}},
        {"chain": {**of, "name": "c", "handle": 2, **BASE, **base}},
        *(
            {"rule": {**of, "chain": chain, "handle": 3 + n, "expr": r}}
            for n, r in enumerate(rules)
        ),
    ]
    return json.dumps({"nftables": objects})


def droppers(chains, **facts):
    found = find_droppers(chains, ["input"], FACTS | facts)
    return [(d.rule.text if d.rule else "policy", d.sure) for base in found for d in base]


@pytest.mark.parametrize(
    ("expressions", "expected"),
    [
        ([match(payload("ip", "protocol"), "gre"), DROP], [("ip protocol gre drop", True)]),
        ([match(payload("ip", "protocol"), 47), DROP], [("ip protocol 47 drop", True)]),
        ([match(meta("l4proto"), "tcp"), DROP], []),
        ([match(payload("ip", "protocol"), "gre", "!="), DROP], []),
        ([match(meta("iifname"), "v*"), {"counter": {}}, DROP], [("iifname v* drop", True)]),
        ([match(meta("iif"), "lo"), DROP], []),
        ([match(meta("iifname"), {"set": ["a", "b"]}, "!="), DROP],
         [("iifname != { a, b } drop", True)]),
        ([match(payload("ip", "saddr"), {"prefix": {"addr": "20.1.0.0", "len": 16}}), DROP],
         [("ip saddr 20.1.0.0/16 drop", True)]),
        ([match(payload("ip", "saddr"), {"range": ["20.1.1.3", "20.1.1.9"]}), DROP], []),
        ([match(payload("ip", "saddr"), "@bad"), DROP], [("ip saddr @bad drop", False)]),
        ([match(payload("ip6", "saddr"), "fd00::2"), DROP], []),
        ([match(payload("tcp", "dport"), 22), DROP], []),
        ([match(CT, "invalid", "in"), DROP], [("ct state invalid drop", False)]),
        ([match(CT, ["established", "related"], "in"), ACCEPT], []),
        ([{"xt": {"type": "match", "name": "string"}}, DROP], [("xt drop", False)]),
        ([{"reject": {"type": "icmp"}}], [("reject", True)]),
        ([{"vmap": {"key": CT, "data": {"set": [["established", ACCEPT], ["invalid", DROP]]}}}],
         [("ct state vmap { established : accept, invalid : drop }", False)]),
        ([{"vmap": {"key": payload("ip", "saddr"), "data": "@m"}}],
         [("ip saddr vmap @m", False)]),
        ([match({"&": [meta("mark"), 1]}, 1), DROP], [("& 1 drop", False)]),
        ([7], [("?", False)]),
        ([{}], [("?", False)]),
        ([{"vmap": {"key": CT, "data": {"set": [["established", {}]]}}}], [("?", False)]),
        ([match({}, 1), DROP], [("?", False)]),
        ([{"jump": {"target": {}}}], []),
        ([match(payload("ip", "saddr"), {"set": ["10.0.0.1"] * 999}), DROP], []),
    ],
)  # fmt: skip
def test_one_rule(expressions, expected):
    assert droppers(parse_nft(listed(expressions))) == expected


def test_what_is_accepted_for_certain_is_not_dropped_behind():
    gre = [match(payload("ip", "protocol"), "gre"), ACCEPT]
    state = [match(CT, "established", "in"), ACCEPT]
    assert droppers(parse_nft(listed(gre, [DROP], policy="drop"))) == []
    assert droppers(parse_nft(listed(state, [DROP], policy="drop"))) == [("drop", False)]
    assert droppers(parse_nft(listed(state, policy="drop"))) == [("policy", False)]
    assert droppers(parse_nft(listed(policy="drop"))) == [("policy", True)]


def sub(*rules):
    return Chain("nft", "inet", "f", "sub", rules)


def base(*rules, policy="accept", **more):
    return Chain("nft", "inet", "f", "c", rules, hook="input", policy=policy, **more)


JUMP, GOTO = Rule("jump", "jump", target="sub"), Rule("goto", "goto", target="sub")
MAYBE = (Match("ct state", ("new",)),)


@pytest.mark.parametrize(
    ("chains", "expected"),
    [
        ((sub(Rule("x", "drop")), base(JUMP)), [("x", True)]),
        ((sub(Rule("x", "accept")), base(JUMP, Rule("y", "drop"))), []),
        ((sub(Rule("x", "return")), base(JUMP, Rule("y", "drop"))), [("y", True)]),
        ((sub(), base(GOTO, Rule("y", "drop"), policy="drop")), [("policy", True)]),
        ((sub(Rule("x", "drop", MAYBE)), base(JUMP, Rule("y", "drop"))),
         [("x", False), ("y", False)]),
        ((sub(Rule("x", "drop")), base(Rule("j", "jump", MAYBE, "sub"), Rule("y", "drop"))),
         [("x", False), ("y", False)]),
        ((base(Rule("j", "jump", target="gone"), Rule("y", "drop")),), [("y", True)]),
        ((base(Rule("r", "return"), Rule("y", "drop"), policy="drop"),), [("policy", True)]),
        ((base(Rule("r", "return", MAYBE), Rule("y", "drop")),), [("y", False)]),
        # It jumps to itself, which the kernel would have refused.
        ((sub(JUMP), base(JUMP, policy="drop")), [("policy", True)]),
    ],
)  # fmt: skip
def test_jumps(chains, expected):
    assert droppers(chains) == expected


def test_chains_are_met_by_hook_family_device_and_priority():
    late, early = base(Rule("late", "drop"), priority=5), base(Rule("early", "drop"), priority=-5)
    other = Chain("nft", "ip6", "f", "c", (Rule("v6", "drop"),), hook="input")
    assert droppers([late, other, early]) == [("early", True), ("late", True)]
    netdev = Chain("nft", "netdev", "f", "c", (Rule("x", "drop"),), hook="ingress", device="gre1")
    assert find_droppers([netdev], ["ingress"], FACTS) == []
    assert find_droppers([netdev], ["ingress"], FACTS | {"iifname": "gre1"})


SAVED = """# Generated by iptables-save
*filter
:INPUT DROP [1:84]
:FORWARD ACCEPT [0:0]
:LOGGED - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT ! -s 20.1.0.0/16 -p gre -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -s 20.1.1.2/32 -i v+ -j LOGGED
-A LOGGED -m comment --comment "a b" -j LOG --log-prefix "gone: "
-A LOGGED -m conntrack --ctstate INVALID -j DROP
-A LOGGED -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""


def test_iptables():
    chains = parse_iptables(SAVED, "iptables-legacy", "ip")
    (found,) = find_droppers(chains, ["input"], FACTS)
    assert [(str(d.rule.text), d.sure) for d in found] == [
        ("-m conntrack --ctstate INVALID -j DROP", False),
        ("-j REJECT --reject-with icmp-port-unreachable", False),
    ]
    assert found[0].rule.wants_invalid
    assert str(found[1]).endswith("in chain LOGGED of table ip filter")
    assert droppers(chains, iifname="eth0") == [("policy", False)]
    assert find_droppers(chains, ["forward"], FACTS) == []


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '{"nftables": 5}', '{"nftables": [5, {"rule": 5}, {"chain": null}]}'),
        *('{"nftables": [{}]}', "[" * 10**5, '{"nftables": [' + "9" * 5000 + "]}"),
    ],
)
def test_garbage_is_no_ruleset(text):
    assert parse_nft(text) == []
    assert parse_iptables(text + "\n*\n:\n-A\n-A x\n-A x -s '\n", "iptables-legacy", "ip") != 5


def test_a_chain_of_any_kind_is_read_and_asked():
    values = [None, 5, {}, [], "input", "9" * 5000]
    for name in ("family", "table", "name", "hook", "policy", "prio", "dev", "handle"):
        for value in values:
            chain = {"family": "inet", "table": "f", "name": "c", **BASE, name: value}
            rule = {"family": "inet", "table": "f", "chain": "c", "expr": [DROP], name: value}
            text = json.dumps({"nftables": [{"chain": chain}, {"rule": rule}]})
            for found in find_droppers(parse_nft(text), ["input"], FACTS):
                assert all(str(dropper) for dropper in found)


@pytest.mark.parametrize(
    ("rule", "action"),
    [
        ("", "continue"),
        ("-j DROP", "drop"),
        ('-m comment --comment "it is \\"so\\" -j DROP" -j ACCEPT', "accept"),
        ('-m comment --comment "', "continue"),
        ("-p", "continue"),
        ("! -s", "continue"),
        ("-j", "jump"),
        ('-m comment --comment "" -j DROP', "drop"),
    ],
)
def test_an_iptables_rule_of_any_form_is_read(rule, action):
    text = f"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT {rule}\nCOMMIT\n"
    (chain,) = parse_iptables(text, "iptables-legacy", "ip")
    assert [read.action for read in chain.rules] == [action]
    assert all(str(d) for found in find_droppers([chain], ["input"], FACTS) for d in found)


def seconds_to_read(count):
    """The processor time that a ruleset of `count` rules takes to be read, in each form."""
    saved = "*filter\n:INPUT ACCEPT\n" + '-A INPUT -s 10.0.0.1/32 -m x "a b" -j DROP\n' * count
    begin = time.process_time()
    parse_iptables(saved, "iptables-legacy", "ip")
    return time.process_time() - begin


def test_a_ruleset_is_read_in_time_that_grows_with_its_length():
    few = min(seconds_to_read(5000) for _ in range(3))
    assert min(seconds_to_read(20_000) for _ in range(2)) < 4 * few * 2


def test_without_a_tool_nothing_is_known(monkeypatch):
    monkeypatch.setattr(listing.shutil, "which", lambda *_, **__: None)
    assert read_ruleset(own_namespace()).unread == NO_TOOL


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """What stands for nft and its like: a script."""
    path = tmp_path / "tool"

    def write(script):
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    monkeypatch.setattr(listing.shutil, "which", lambda *_, **__: str(path))
    return write


def test_a_tool_that_fails_is_as_none(tool):
    tool("exit 1")
    assert read_ruleset(own_namespace()).unread == NO_TOOL


def test_what_all_tools_say_is_one_ruleset(tool):
    tool(f"echo '{json.dumps({'nftables': [{'chain': {'name': 'c', 'hook': 'input'}}]})}'")
    ruleset = read_ruleset(own_namespace())
    assert ruleset.unread is None
    assert [c.tool for c in ruleset.chains] == ["nft"]


@pytest.mark.parametrize("script", ["exec sleep 60", "exec >&-; exec sleep 60", "sleep 60 & wait"])
def test_a_tool_that_hangs_is_not_waited_for(tool, script):
    tool(script)
    begin = time.monotonic()
    unread = read_ruleset(own_namespace(), patience=0.2).unread
    assert time.monotonic() - begin < 5
    assert unread in ("as nft takes longer than 0.2 s", NO_TOOL)


def test_a_tool_that_says_too_much_is_not_listened_to(tool, monkeypatch):
    monkeypatch.setattr(listing, "LONGEST", 1 << 20)
    tool("exec cat /dev/zero")
    tracemalloc.start()
    unread = read_ruleset(own_namespace()).unread
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "lists more than 1 MB of rules" in unread
    assert peak < 8 << 20  # there are three of them


def test_the_end_is_not_kept_waiting_by_a_tool(tool):
    tool("exec sleep 60")
    begin = time.monotonic()
    told = Rulesets(lambda: time.monotonic() > begin + 0.1).of(own_namespace())
    assert told.unread == "as nft was not waited for at the end"
    assert time.monotonic() - begin < 2


def test_a_slow_ruleset_is_kept_and_a_quick_one_is_read_anew(tool, tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    tool(f"echo >>{calls}; echo")
    rulesets = Rulesets()
    for _ in range(2):
        rulesets.of(own_namespace())
    assert len(calls.read_text()) == 2 * 3
    monkeypatch.setattr(firewall, "QUICK", 0.0)
    kept = rulesets.of(own_namespace())
    assert rulesets.of(own_namespace()) is kept
    assert len(calls.read_text()) == 3 * 3


class Clock:
    """Time that passes as a test says, and tools that take as long as they are given at most."""

    def __init__(self, monkeypatch, takes):
        self.now, self.takes, self.given = 100.0, takes, []
        monkeypatch.setattr(firewall, "list_all", self.list_all)
        monkeypatch.setattr(firewall.time, "monotonic", lambda: self.now)

    def list_all(self, _namespace, commands, patience, _stopped):
        self.given.append(patience)
        self.now += min(self.takes, patience)
        late = listing.Unread("as nft takes long")
        return dict.fromkeys(commands, late if self.takes > patience else b"")


def read_many(rulesets, *inodes):
    return [rulesets.of(Namespace(inode, own_namespace().path)).unread for inode in inodes]


def test_of_many_slow_rulesets_each_gets_half_of_the_time_that_is_left(monkeypatch):
    """Who makes namespaces may make many; others' are read meanwhile, if they are quick."""
    clock = Clock(monkeypatch, takes=60)
    rulesets = Rulesets()
    read_many(rulesets, *range(100), 0)
    assert clock.given[:4] == [2.0, pytest.approx(1.2), pytest.approx(0.72), pytest.approx(0.432)]
    assert clock.given[-1] == firewall.QUICK


def test_slow_rulesets_take_a_fifth_of_the_time_in_the_long_run(monkeypatch):
    clock = Clock(monkeypatch, takes=60)
    rulesets = Rulesets()
    for second in range(1000):
        read_many(rulesets, second)
        clock.now += 3
    slow = sum(patience for patience in clock.given if patience > firewall.QUICK)
    assert slow < firewall.AT_ONCE + (clock.now - 100) / 5


def test_where_every_reading_is_slow_several_are_read(monkeypatch):
    """A tool takes half a second on a slow machine, and more than one namespace has drops."""
    Clock(monkeypatch, takes=0.5)
    assert read_many(Rulesets(), *range(6)) == [None] * 6
