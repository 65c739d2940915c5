# SPDX-License-Identifier: GPL-2.0-only
"""Rules that have TCP announce shorter segments (nft's tcp option maxseg, xt_TCPMSS).

A SYN announces what its sender takes, so one that goes into a tunnel limits what comes out of it,
and the other way round: both need the rule. One that takes the size from the route serves both, as
the kernel asks for the way there and for that back (get_tcpmss() of nft_rt.c, tcpmss_reverse_mtu()
of xt_TCPMSS.c). None raises a segment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gretrace.kernel.droppers import Ruleset
from gretrace.kernel.ruleset import FROM_ROUTE, Chain, Facts, Rule

_TCP = {"nfproto": "ipv4", "l4proto": "6"}
_ENDS = ("accept", "drop", "reject", "return", "goto")
# Where a forwarded packet is seen by its device, and can still be changed.
_INTO, _OUT_OF, _ASIDE = (
    ("forward", "postrouting"),
    ("prerouting", "forward"),
    ("forward", "output", "postrouting"),
)


@dataclass(frozen=True, slots=True)
class Clamp:
    """A rule that shortens segments."""

    chain: Chain
    rule: Rule

    @property
    def size(self) -> int:
        """To so many bytes; FROM_ROUTE: to what the route takes."""
        return self.rule.segment or FROM_ROUTE

    def __str__(self) -> str:
        return f"“{self.rule.text}” in {self.chain.title}"


@dataclass(frozen=True, slots=True)
class Direction:
    """One way of the SYN packets of a tunnel's TCP, and what clamps them."""

    words: str  # "TCP that is forwarded into gre1"
    clamps: Sequence[Clamp]

    def serves(self, size: int, *, trusts_route: bool) -> bool:
        """Whether a rule shortens segments to `size` bytes at most."""
        return any(
            trusts_route if clamp.size == FROM_ROUTE else clamp.size <= size
            for clamp in self.clamps
        )


def directions(ruleset: Ruleset, tunnel: str, aside: str | None = None) -> list[Direction]:
    """Return both directions of a tunnel's TCP.

    And, where `aside` is the device by which answers to what a tunnel receives leave directly,
    that of those. A rule counts if nothing that can be read says that it is for others.
    """
    ways = [
        Direction(
            f"TCP that is forwarded into {tunnel}",
            tuple(_clamps(ruleset, _INTO, _TCP | {"oifname": tunnel}, "iifname", tunnel)),
        ),
        Direction(
            f"TCP that comes out of {tunnel}",
            tuple(_clamps(ruleset, _OUT_OF, _TCP | {"iifname": tunnel}, "oifname", tunnel)),
        ),
    ]
    if aside:
        found = _clamps(ruleset, _ASIDE, _TCP | {"oifname": aside}, "iifname", aside)
        ways.append(Direction(f"answers that leave by {aside}", tuple(found)))
    return ways


def _clamps(
    ruleset: Ruleset, hooks: Sequence[str], facts: Facts, other: str, device: str
) -> Iterator[Clamp]:
    known = {(c.tool, c.family, c.table, c.name): c for c in ruleset.chains}
    for base in ruleset.chains:
        if base.hook and base.hook in hooks and base.sees(base.hook, facts):
            yield from _in_chain(base, known, facts, (other, device), set())


def _in_chain(
    chain: Chain,
    known: dict[tuple[str, str, str, str], Chain],
    facts: Facts,
    turned: tuple[str, str],
    met: set[int],
) -> Iterator[Clamp]:
    """Yield what clamps in a chain and all that it jumps to, each chain once."""
    met.add(id(chain))
    for rule in chain.rules:
        fits = rule.fits(facts)
        if fits is False or _is_for(rule, *turned):
            continue
        if rule.segment is not None:
            yield Clamp(chain, rule)
        target = known.get((chain.tool, chain.family, chain.table, rule.target or ""))
        if rule.action in ("jump", "goto") and target and id(target) not in met:
            yield from _in_chain(target, known, facts, turned, met)
        if fits and rule.action in _ENDS:
            return


def _is_for(rule: Rule, field: str, device: str) -> bool:
    """Whether a rule is for what goes the other way, in and out by the same device."""
    return any(
        match.field == field and not match.negated and match.values == (device,)
        for match in rule.matches
    )
