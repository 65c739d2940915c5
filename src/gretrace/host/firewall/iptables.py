# SPDX-License-Identifier: GPL-2.0-only
"""Rulesets as iptables-save writes them."""

import re
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

from gretrace.kernel.ruleset import FROM_ROUTE, TEXT, Chain, Match, Rule

# net/ipv4/netfilter/iptable_*.c: the hooks' names, and the priority of a table at all of them.
_HOOKS = {name.upper(): name for name in ("prerouting", "input", "forward", "output")} | {
    "POSTROUTING": "postrouting"
}
_PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
# What iptables-save writes, and the field that it is about.
_OPTIONS = {
    "-s": "saddr", "-d": "daddr", "-i": "iifname", "-o": "oifname", "-p": "l4proto",
    "--ctstate": "ct state", "--state": "ct state",
}  # fmt: skip
# A word of xtables_save_string() of iptables' libxtables/xtables.c. shlex needs some microseconds
# for each character.
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ESCAPED = re.compile(r"\\(.)")
# Matches that only announce options, and options without a say.
_ANNOUNCED = ("conntrack", "state", "comment")


def parse_iptables(text: str, tool: str, family: str) -> list[Chain]:
    """Read what `iptables-save` says."""
    chains: dict[tuple[str, str], Chain] = {}
    rules: defaultdict[tuple[str, str], list[Rule]] = defaultdict(list)
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            name, policy = [*line[1:].split(), "", ""][:2]
            chains[table, name] = Chain(
                *(tool, family, table, name),
                hook=_HOOKS.get(name),
                priority=_PRIORITIES.get(table, 0),
                policy=policy.lower(),
            )
        elif line.startswith("-A "):
            _, name, rest = [*line.split(" ", 2), ""][:3]
            if (table, name) in chains:
                rules[table, name].append(_iptables_rule(rest))
    return [replace(chain, rules=tuple(rules[place])) for place, chain in chains.items()]


def _iptables_rule(text: str) -> Rule:
    words = _split(text)
    matches: list[Match] = []
    action, target = "continue", None
    negated, segment = False, None
    for word, following in pairwise([*words, ""]):
        if word in ("-j", "-g"):
            action, target = _iptables_verdict(word, following)
            if following == "TCPMSS":
                segment = _segment(words)
            break
        if word in _OPTIONS:
            values = tuple(_iptables_value(word, v) for v in following.split(","))
            matches.append(Match(_OPTIONS[word], values, negated))
        elif (word == "-m" and following not in _ANNOUNCED) or word == "-f":
            matches.append(Match(following))
        negated = word == "!"
    return Rule(text[:TEXT], action, tuple(matches), target, segment=segment)


def _segment(words: list[str]) -> int:
    """Read what TCPMSS sets the segment to; by --clamp-mss-to-pmtu it is the route's."""
    told = next((size for word, size in pairwise(words) if word == "--set-mss"), "")
    return int(told) if told.isdigit() else FROM_ROUTE


def _split(text: str) -> list[str]:
    if '"' not in text:
        return text.split()
    return [word or _ESCAPED.sub(r"\1", quoted) for quoted, word in _WORD.findall(text)]


def _iptables_verdict(word: str, name: str) -> tuple[str, str | None]:
    if name in ("ACCEPT", "DROP", "REJECT", "RETURN"):
        return name.lower(), None
    # A target of its own kind (LOG, MARK) is no chain, so that nothing is found there.
    return ("goto" if word == "-g" else "jump"), name


def _iptables_value(option: str, value: str) -> str:
    if option in ("-i", "-o"):
        return f"{value[:-1]}*" if value.endswith("+") else value
    return value.lower()
