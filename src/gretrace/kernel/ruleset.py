"""Netfilter's chains, and which of their rules can have dropped a packet.

What a rule wants is read as far as the packet can tell; of the rest (marks, sets, limits,
the state of a connection) it is not known whether it holds.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import TypeAlias

# What is known of a packet, by the name that nft has for it; what is not known is left out.
Facts: TypeAlias = Mapping[str, str]

_DROPS = ("drop", "reject")
# IANA's numbers of the names that nft and iptables write.
_PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipencap": 4, "ipip": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47,
    "esp": 50, "ah": 51, "ipv6-icmp": 58, "icmpv6": 58, "eigrp": 88, "ospf": 89, "ospfigp": 89,
    "sctp": 132,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Match:
    """One thing that a rule wants of a packet; no value is one that nobody here can tell."""

    field: str  # nfproto, l4proto, iifname, oifname, saddr, daddr, or what is not modelled
    values: tuple[str, ...] = ()
    negated: bool = False

    def fits(self, facts: Facts) -> bool | None:
        """Whether a packet has it; None where that is not known."""
        fact = facts.get(self.field)
        if fact is None or not self.values:
            return None
        found = [_equals(self.field, fact, value) for value in self.values]
        if True in found:
            return not self.negated
        return None if None in found else self.negated


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a chain, or one element of its verdict map."""

    text: str
    action: str  # accept, drop, reject, jump, goto, return; anything else goes on
    matches: tuple[Match, ...] = ()
    target: str | None = None  # the chain that is jumped to
    handle: int | None = None

    def fits(self, facts: Facts) -> bool | None:
        """Whether it applies to a packet; None where that is not known."""
        found = [match.fits(facts) for match in self.matches]
        if False in found:
            return False
        return None if None in found else True

    @property
    def wants_invalid(self) -> bool:
        """Whether it is for packets that conntrack takes for INVALID."""
        return any(m.field == "ct state" and "invalid" in m.values for m in self.matches)


@dataclass(frozen=True)
class Chain:
    """A chain; one without a hook is only reached by a jump."""

    tool: str  # the command that changes it: nft, iptables-legacy or ip6tables-legacy
    family: str  # ip, ip6, inet or netdev
    table: str
    name: str
    rules: tuple[Rule, ...] = ()
    hook: str | None = None
    priority: int = 0
    policy: str = "accept"
    device: str | None = None  # of a chain at ingress or egress, where it is told

    @cached_property
    def title(self) -> str:
        """How to name it to a person."""
        return f"chain {self.name} of table {self.family} {self.table}"

    def sees(self, hook: str, facts: Facts) -> bool:
        """Whether a packet at a hook meets it."""
        own = {"ipv4": "ip", "ipv6": "ip6"}[facts["nfproto"]]
        if self.hook != hook or self.family not in (own, "inet", "netdev"):
            return False
        return self.device in (None, facts.get("oifname" if hook == "egress" else "iifname"))


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


def find_droppers(
    chains: Sequence[Chain], hooks: Iterable[str], facts: Facts
) -> list[list[Dropper]]:
    """Find what can drop a packet: one list a base chain, in the order in which it meets them."""
    known = {(c.tool, c.family, c.table, c.name): c for c in chains}
    met = [
        chain
        for hook in hooks
        for chain in sorted(chains, key=lambda c: c.priority)
        if chain.sees(hook, facts)
    ]
    return [found for base in met if (found := list(_in_base(base, known, facts)))]


_Known: TypeAlias = Mapping[tuple[str, str, str, str], Chain]


def _in_base(base: Chain, known: _Known, facts: Facts) -> Iterator[Dropper]:
    walk = _Walk(base, known, facts)
    ended = yield from walk.through(base)
    if not ended and base.policy == "drop":
        yield Dropper(base, base, None, walk.sure)


# nft refuses loops, and chains that are deeper (NFT_JUMP_STACK_SIZE).
_DEEPEST = 16


@dataclass
class _Walk:
    """The way of one packet through a base chain and all that it jumps to."""

    base: Chain
    known: _Known
    facts: Facts
    sure: bool = True  # whether it is known that the packet comes this far

    def through(self, chain: Chain, depth: int = 0) -> Generator[Dropper, None, bool]:
        """Yield what may drop; returns whether the packet goes no further for certain."""
        for rule in chain.rules:
            fits = rule.fits(self.facts)
            if fits is False or depth > _DEEPEST:
                continue
            if rule.action in _DROPS:
                yield Dropper(self.base, chain, rule, self.sure and fits is True)
            if fits and rule.action in (*_DROPS, "accept"):
                return True
            if rule.action in ("jump", "goto"):
                ended = yield from self._jump(chain, rule, depth, certain=bool(fits))
                if fits and (ended or rule.action == "goto"):
                    return ended
            if fits and rule.action == "return":
                return False
            if fits is None and rule.action in (*_DROPS, "accept", "return", "goto"):
                self.sure = False
        return False

    def _jump(
        self, chain: Chain, rule: Rule, depth: int, *, certain: bool
    ) -> Generator[Dropper, None, bool]:
        target = self.known.get((chain.tool, chain.family, chain.table, rule.target or ""))
        if target is None:
            return False
        before, self.sure = self.sure, self.sure and certain
        ended = yield from self.through(target, depth + 1)
        # What was passed by without entering leaves the way as sure as it was, if nothing
        # in there could end it.
        if not certain and not target.rules:
            self.sure = before
        return ended


def _equals(field: str, fact: str, value: str) -> bool | None:
    """Compare what is known with a value as nft writes it; None where it is not understood."""
    if value.startswith("@"):
        return None
    if field in ("iifname", "oifname"):
        return fact.startswith(value[:-1]) if value.endswith("*") else fact == value
    if field == "l4proto":
        number = _PROTOCOLS.get(value.lower(), value)
        return str(number) == fact if str(number).isdigit() else None
    if field in ("saddr", "daddr"):
        return _holds(value, fact)
    return fact == value


def _holds(value: str, fact: str) -> bool | None:
    """Whether an address, a prefix or a range holds an address."""
    try:
        first, dash, last = value.partition("-")
        address = ip_address(fact)
        if not dash:
            return address in ip_network(value, strict=False)
        low, high = ip_address(first), ip_address(last)
    except ValueError:
        return None
    return address.version == low.version and int(low) <= int(address) <= int(high)
