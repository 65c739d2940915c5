"""Rulesets as iptables-save writes them."""

import shlex
from collections.abc import Iterable
from dataclasses import replace

from gretrace.kernel.ruleset import Chain, Match, Rule

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
# Matches that only announce options, and options without a say.
_ANNOUNCED = ("conntrack", "state", "comment")


def parse_iptables(text: str, tool: str, family: str) -> list[Chain]:
    """Read what `iptables-save` says."""
    chains: dict[tuple[str, str], Chain] = {}
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
            if chain := chains.get((table, name)):
                rules = (*chain.rules, _iptables_rule(rest))
                chains[table, name] = replace(chain, rules=rules)
    return list(chains.values())


def _iptables_rule(text: str) -> Rule:
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    matches: list[Match] = []
    action, target = "continue", None
    negated = False
    pairs: Iterable[tuple[str, str]] = zip(words, [*words[1:], ""], strict=True)
    for word, following in pairs:
        if word in ("-j", "-g"):
            action, target = _iptables_verdict(word, following)
            break
        if word in _OPTIONS:
            values = tuple(_iptables_value(word, v) for v in following.split(","))
            matches.append(Match(_OPTIONS[word], values, negated))
        elif (word == "-m" and following not in _ANNOUNCED) or word == "-f":
            matches.append(Match(following))
        negated = word == "!"
    return Rule(text, action, tuple(matches), target)


def _iptables_verdict(word: str, name: str) -> tuple[str, str | None]:
    if name in ("ACCEPT", "DROP", "REJECT", "RETURN"):
        return name.lower(), None
    # A target of its own kind (LOG, MARK) is no chain, so that nothing is found there.
    return ("goto" if word == "-g" else "jump"), name


def _iptables_value(option: str, value: str) -> str:
    if option in ("-i", "-o"):
        return f"{value[:-1]}*" if value.endswith("+") else value
    return value.lower()
