# SPDX-License-Identifier: GPL-2.0-only
"""Which rules of netfilter can have dropped a packet, and what it costs to tell.

Whoever may make a network namespace decides what its chains hold, and a stranger's packets
decide how often they are asked. So each chain is gone through once for a question, however many
jumps lead there; a question is answered once; and all of them together have a limit.
"""

import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from operator import xor
from typing import TypeAlias

from gretrace.kernel.ruleset import ADDRESSES, Chain, Facts, Rule, range_of

# So many values are compared with those of packets; a tenth of a second or two. Five thousand
# ordinary rules have some fifteen thousand.
COMPARISONS = 200_000
# So many base chains are told of, each of which needs a rule of its own to let a packet pass.
BASES = 16
# So many answers are kept.
ANSWERS = 1024

# By tool, family, table and name.
_Known: TypeAlias = Mapping[tuple[str, str, str, str], Chain]

_DROPS = ("drop", "reject")


@dataclass(frozen=True, slots=True)
class Dropper:
    """A rule that may have dropped the packet, or the policy of a chain."""

    base: Chain
    chain: Chain  # that has the rule: the base chain, or one that it jumps to
    rule: Rule | None  # None: the policy
    sure: bool  # nothing before it can have let the packet pass, and it fits in all it wants

    def __str__(self) -> str:
        if self.rule is None:
            return f"the policy drop of {self.base.title}"
        handle = f" (handle {self.rule.handle})" if self.rule.handle is not None else ""
        return f"the rule “{self.rule.text}”{handle} in {self.chain.title}"


@dataclass(frozen=True)
class Found:
    """What can have dropped a packet."""

    droppers: tuple[tuple[Dropper, ...], ...]  # one for each base chain, as the packet meets them
    is_whole: bool = True  # False: there is more than was looked at

    @cached_property
    def suspects(self) -> Sequence[Dropper]:
        """What may have dropped it; behind what surely would, nothing has."""
        met = tuple(chain.from_iterable(self.droppers))
        ends = (place for place, dropper in enumerate(met, 1) if dropper.sure)
        return met[: next(ends, len(met))]


class Ruleset:
    """The chains of a namespace as they were read at one moment.

    `unread` says why there are none although there may be: "without nft or iptables".
    """

    def __init__(self, chains: Iterable[Chain] = (), unread: str | None = None) -> None:
        self.unread = unread
        self.chains = tuple(chains)
        self._known = {(c.tool, c.family, c.table, c.name): c for c in self.chains}
        self._answers: dict[object, Found] = {}
        self._left = COMPARISONS

    def droppers(self, hooks: Sequence[str], facts: Facts) -> Found:
        """Find what can drop a packet at `hooks`, which it meets in this order."""
        question = tuple(hooks), frozenset(self._distinct(facts))
        found = self._answers.get(question)
        if found is None:
            if len(self._answers) >= ANSWERS:
                self._answers.clear()
            found = self._answers[question] = self._find(hooks, facts)
        return found

    def _find(self, hooks: Sequence[str], facts: Facts) -> Found:
        met = (base for hook in hooks for base in self._bases[hook] if base.sees(hook, facts))
        found = []
        for base in met:
            way = _Way(base, self._known, facts, self._left)
            if droppers := tuple(way.droppers()):
                found.append(droppers)
            self._left = way.left
            if self._left <= 0 or len(found) > BASES:
                return Found(tuple(found[:BASES]), is_whole=False)
        return Found(tuple(found))

    @cached_property
    def _bases(self) -> Mapping[str | None, Sequence[Chain]]:
        bases = defaultdict(list)
        for base in sorted(self.chains, key=lambda base: base.priority):
            bases[base.hook].append(base)
        return bases

    def _distinct(self, facts: Facts) -> Iterator[tuple[str, object]]:
        """Yield the facts, addresses by what the rules make of them.

        Of the forged sources of a flood, most are the same to all rules.
        """
        for name, fact in facts.items():
            yield name, self._sets[name].set_of(fact) if name in ADDRESSES else fact

    @cached_property
    def _sets(self) -> Mapping[str, "_Sets"]:
        values: dict[str, set[str]] = {name: set() for name in ADDRESSES}
        for rule in chain.from_iterable(each.rules for each in self.chains):
            for match in rule.matches:
                if match.field in values:
                    values[match.field].update(match.values)
        return {name: _Sets(named) for name, named in values.items()}


class _Sets:
    """Which addresses are held by the same of some ranges."""

    def __init__(self, values: Iterable[str]) -> None:
        # Each range has a random mark, and a set of ranges the sum of their marks.
        turns: defaultdict[tuple[int, int], int] = defaultdict(int)
        for version, low, high in {held for value in values if (held := range_of(value))}:
            mark = random.getrandbits(64)
            turns[version, low] ^= mark
            turns[version, high + 1] ^= mark
        self._turns = sorted(turns)
        self._sums = [0, *accumulate((turns[turn] for turn in self._turns), xor)]

    def set_of(self, address: str) -> object:
        """Return what is equal for addresses that the same ranges hold."""
        held = range_of(address)
        if held is None:
            return address
        version, number, _ = held
        return version, self._sums[bisect_right(self._turns, (version, number))]


@dataclass(slots=True)
class _Visit:
    """A chain that is being gone through."""

    chain: Chain
    rules: Iterator[Rule]
    comes: bool  # whether it is known that the packet comes here
    through: bool = True  # whether nothing so far can have kept it from coming to this rule
    rule: Rule | None = None  # the one that is looked at
    fits: bool | None = None
    ended: bool | None = None  # once it is left: whether the packet goes no further for certain

    def decide(self) -> None:
        """Follow a verdict that is no jump."""
        action = self.rule.action if self.rule else ""
        if action not in (*_DROPS, "accept", "return"):
            return
        if self.fits:
            self.ended = action != "return"
        else:
            self.through = False

    def come_back(self, target: Chain, *, ended: bool, through: bool) -> None:
        """Go on behind a jump to a chain that was left so."""
        leaves = self.rule is not None and self.rule.action == "goto"
        if self.fits:
            self.through = self.through and through
            if ended or leaves:
                self.ended = ended
        elif target.rules or leaves:
            self.through = False


class _Way:
    """The way of one packet through a base chain and all that it jumps to."""

    def __init__(self, base: Chain, known: _Known, facts: Facts, limit: int) -> None:
        self._base, self._known, self._facts = base, known, facts
        self.left = limit  # so many values may still be compared
        # How each chain was left. One that leads to itself, which the kernel refuses, is passed by.
        self._done: dict[int, tuple[bool, bool]] = {}

    def droppers(self) -> Iterator[Dropper]:
        """Yield what may drop, of each chain once; nothing that comes after the limit.

        What is met again is no surer then, so the first time is the one to tell of.
        """
        visits = [self._enter(self._base, comes=True)]
        while self.left > 0:
            visit = visits[-1]
            if visit.ended is None:
                yield from self._step(visits)
                continue
            self._done[id(visit.chain)] = visit.ended, visit.through
            visits.pop()
            if visits:
                visits[-1].come_back(visit.chain, ended=visit.ended, through=visit.through)
                continue
            if not visit.ended and self._base.policy == "drop":
                yield Dropper(self._base, self._base, None, visit.through)
            return

    def _enter(self, chain: Chain, *, comes: bool) -> _Visit:
        self._done[id(chain)] = False, True
        return _Visit(chain, iter(chain.rules), comes)

    def _step(self, visits: list[_Visit]) -> Iterator[Dropper]:
        """Look at the next rule of the innermost chain."""
        visit = visits[-1]
        rule = visit.rule = next(visit.rules, None)
        if rule is None:
            visit.ended = False
            return
        self.left -= 1 + sum(len(match.values) for match in rule.matches)
        fits = visit.fits = rule.fits(self._facts)
        if fits is False:
            return
        certain = visit.comes and visit.through and bool(fits)
        if rule.action in _DROPS:
            yield Dropper(self._base, visit.chain, rule, certain)
        visit.decide()
        target = self._target(visit.chain, rule)
        if target is None:
            # A target of iptables, or a chain that is gone: the packet comes back from it.
            return
        if done := self._done.get(id(target)):
            visit.come_back(target, ended=done[0], through=done[1])
        else:
            visits.append(self._enter(target, comes=certain))

    def _target(self, chain: Chain, rule: Rule) -> Chain | None:
        if rule.action not in ("jump", "goto"):
            return None
        return self._known.get((chain.tool, chain.family, chain.table, rule.target or ""))
