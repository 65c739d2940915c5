# SPDX-License-Identifier: GPL-2.0-only
"""What it costs to hold a ruleset against a packet, whoever wrote the ruleset."""

import random
import time

import pytest

from gretrace.kernel import droppers
from gretrace.kernel.droppers import Dropper, Ruleset
from gretrace.kernel.ruleset import Chain, Match, Rule

FACTS = {
    "nfproto": "ipv4", "l4proto": "47", "saddr": "20.1.1.2", "daddr": "20.1.1.1", "iifname": "vb",
}  # fmt: skip
MAYBE = Match("ct state", ("new",))
UNSURE = Rule("x", "drop", (MAYBE,))


def chain(name, *rules, hook=None, **more):
    return Chain("nft", "inet", "f", name, rules, hook=hook, **more)


def jump(target, *matches):
    return Rule(f"jump {target}", "jump", matches, target)


def mesh(depth, width, end=UNSURE):
    """Chains that each jump `width` times to the next: width ** depth ways through them."""
    chains = [chain(f"c{n}", *[jump(f"c{n + 1}")] * width) for n in range(depth)]
    return [chain("in", jump("c0"), hook="input"), *chains, chain(f"c{depth}", end)]


def found(chains, **facts):
    return Ruleset(chains).droppers(["input"], FACTS | facts)


def test_chains_that_lead_to_one_another_in_many_ways_are_gone_through_once():
    begin = time.process_time()
    answer = found(mesh(depth=10, width=8))
    assert time.process_time() - begin < 0.5
    assert [d.rule.text for d in answer.suspects] == ["x"]
    assert answer.is_whole


def test_deep_chains_are_no_error():
    """iptables has no limit but the number of chains."""
    answer = found(mesh(depth=5000, width=1, end=Rule("x", "drop")))
    assert [(d.rule.text, d.sure) for d in answer.suspects] == [("x", True)]


def walk(base, known, facts):
    """The same by the book: every jump is followed, whatever it costs."""
    sure = True

    def through(chain):
        nonlocal sure
        for rule in chain.rules:
            fits = rule.fits(facts)
            if fits is False:
                continue
            if rule.action in ("drop", "reject"):
                yield Dropper(base, chain, rule, sure and fits is True)
            if fits and rule.action in ("drop", "reject", "accept"):
                return True
            if rule.action in ("jump", "goto"):
                target = known[rule.target]
                before, sure = sure, sure and bool(fits)
                ended = yield from through(target)
                if not fits and not target.rules:
                    sure = before
                if fits and (ended or rule.action == "goto"):
                    return ended
            if fits and rule.action == "return":
                return False
            if fits is None and rule.action in ("drop", "reject", "accept", "return", "goto"):
                sure = False
        return False

    if not (yield from through(base)) and base.policy == "drop":
        yield Dropper(base, base, None, sure)


@pytest.mark.parametrize("seed", range(400))
def test_what_is_found_is_what_a_walk_on_all_ways_finds(seed):
    dice = random.Random(seed)
    wants = [(), (), (MAYBE,), (Match("iifname", ("vb",)),), (Match("iifname", ("no",)),)]
    actions = ["accept", "drop", "return", "continue", "jump", "jump", "jump", "goto"]
    chains = []
    for number in range(5, -1, -1):
        rules = []
        for place in range(dice.randrange(4)):
            action = dice.choice(actions if number < 5 else actions[:4])
            target = f"c{dice.randrange(number + 1, 6)}" if action in ("jump", "goto") else None
            rules.append(Rule(f"{number}.{place}", action, dice.choice(wants), target))
        more = {"hook": "input", "policy": dice.choice(["accept", "drop"])} if not number else {}
        chains.append(chain(f"c{number}", *rules, **more))
    known = {c.name: c for c in chains}
    expected = {}
    for each in walk(known["c0"], known, FACTS):
        # Met again, it is no surer.
        expected.setdefault((each.chain.name, each.rule and each.rule.text), each.sure)
    answer = found(chains)
    got = {(d.chain.name, d.rule and d.rule.text): d.sure for few in answer.droppers for d in few}
    assert list(got.items()) == list(expected.items())


def ordinary(count):
    """A ruleset as people have them: a rule for each of many sources, then a policy."""
    rules = [
        Rule(f"ip saddr 10.{n >> 8}.{n & 255}.0/24 drop", "drop",
             (Match("nfproto", ("ipv4",)), Match("saddr", (f"10.{n >> 8}.{n & 255}.0/24",))))
        for n in range(count)
    ]  # fmt: skip
    return [chain("in", *rules, hook="input", policy="drop")]


def test_forged_sources_do_not_have_the_rules_compared_again(monkeypatch):
    compared = []
    fits = Rule.fits
    monkeypatch.setattr(Rule, "fits", lambda *a: compared.append(1) or fits(*a))
    ruleset = Ruleset(ordinary(5000))
    dice = random.Random(1)
    for _ in range(2000):
        source = ".".join(str(dice.randrange(20, 250)) for _ in range(4))
        answer = ruleset.droppers(["input"], FACTS | {"saddr": source})
        assert [d.rule for d in answer.suspects] == [None]
    assert len(compared) == 5000
    inside = ruleset.droppers(["input"], FACTS | {"saddr": "10.0.7.9"})
    assert inside.suspects[0].rule.text == "ip saddr 10.0.7.0/24 drop"
    assert len(compared) <= 2 * 5000


def test_addresses_that_some_rule_tells_apart_are_kept_apart():
    rules = [
        Rule("prefix", "drop", (Match("saddr", ("20.1.0.0/16",)),)),
        Rule("range", "drop", (Match("saddr", ("20.1.255.0-20.2.0.9",)),)),
        Rule("not", "drop", (Match("saddr", ("fd00::/8", "20.0.0.0/6"), negated=True),)),
    ]
    ruleset = Ruleset([chain("in", *rules, hook="input")])

    def droppers_of(source):
        answer = ruleset.droppers(["input"], FACTS | {"saddr": source})
        return [d.rule.text for d in answer.suspects]

    for _ in range(2):
        assert droppers_of("20.1.2.3") == ["prefix"]
        assert droppers_of("20.2.0.9") == ["range"]
        assert droppers_of("20.2.0.10") == []
        assert droppers_of("30.0.0.1") == ["not"]
        assert droppers_of("20.0.255.255") == []


def test_there_is_a_limit_and_it_is_told(monkeypatch):
    monkeypatch.setattr(droppers, "COMPARISONS", 3000)
    ruleset = Ruleset(ordinary(5000))
    first = ruleset.droppers(["input"], FACTS)
    assert not first.is_whole
    assert first.suspects == ()
    assert found(ordinary(500)).is_whole


@pytest.mark.parametrize(("limit", "is_whole"), [(5, True), (4, True), (3, False)])
def test_a_rule_costs_one_and_one_for_each_value(monkeypatch, limit, is_whole):
    monkeypatch.setattr(droppers, "COMPARISONS", limit)
    miss = Rule("x", "drop", (Match("saddr", ("9.9.9.8", "9.9.9.9")),))
    both = [chain(f"b{n}", hook="input", policy=p) for n, p in enumerate(("accept", "drop"))]
    answer = found([chain("in", miss, hook="input"), *both])
    assert (answer.is_whole, bool(answer.droppers)) == (is_whole, is_whole)


@pytest.mark.parametrize(("chains", "is_whole"), [(15, True), (16, True), (17, False)])
def test_just_as_many_chains_as_are_told_apart_are_all(chains, is_whole):
    answer = found([chain(f"b{n}", hook="input", policy="drop") for n in range(chains)])
    assert (len(answer.droppers), answer.is_whole) == (min(chains, 16), is_whole)


def test_answers_are_kept_up_to_a_number(monkeypatch):
    """The same question is not answered twice, unless there were too many others meanwhile."""
    monkeypatch.setattr(droppers, "ANSWERS", 2)
    rules = [Rule(str(n), "drop", (Match("saddr", (f"9.0.0.{n}",)),)) for n in range(4)]
    ruleset = Ruleset([chain("in", *rules, hook="input")])
    asked = [ruleset.droppers(["input"], FACTS | {"saddr": f"9.0.0.{n}"}) for n in (0, 1, 0, 1)]
    assert asked[0] is asked[2]
    assert asked[1] is asked[3]
    ruleset.droppers(["input"], FACTS | {"saddr": "9.0.0.2"})
    assert ruleset.droppers(["input"], FACTS | {"saddr": "9.0.0.0"}) is not asked[0]
    assert len(ruleset._answers) == 2


def test_the_largest_ruleset_is_answered_within_a_second():
    ruleset = Ruleset(ordinary(40_000))
    begin = time.process_time()
    for last in range(100):
        ruleset.droppers(["input"], FACTS | {"saddr": f"10.0.{last}.1"})
    assert time.process_time() - begin < 3


def test_a_packet_that_meets_very_many_chains_has_them_summed_up():
    answer = found([chain(f"b{n}", hook="input", policy="drop") for n in range(1000)])
    assert len(answer.droppers) == droppers.BASES
    assert not answer.is_whole
