# SPDX-License-Identifier: GPL-2.0-only
"""Rulesets as `nft -j list ruleset` writes them (libnftables-json(5))."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from gretrace.kernel.ruleset import FROM_ROUTE, TEXT, Chain, Match, Rule

_VERDICTS = ("accept", "drop", "reject", "return", "jump", "goto")
# Statements that do not decide whether a rule applies.
_SILENT = ("counter", "log", "comment", "mangle", "notrack", "set", "quota", "dup", "tproxy")
# What follows the IP header, so that to look at it is to want that protocol.
_TRANSPORTS = ("icmp", "icmpv6", "igmp", "tcp", "udp", "sctp", "esp", "ah", "gre")


def parse_nft(text: str) -> list[Chain]:
    """Read what `nft -j -t list ruleset` says, without the elements of sets that have a name."""
    try:
        told = json.loads(text)["nftables"]
        objects = [(kind, value) for item in told for kind, value in item.items()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []
    rules: defaultdict[tuple[str, ...], list[Rule]] = defaultdict(list)
    for kind, value in objects:
        if kind == "rule" and isinstance(value, dict):
            rules[_owner(value, "chain")] += _nft_rule(value)
    return [
        Chain(
            tool="nft",
            family=str(value.get("family")),
            table=str(value.get("table")),
            name=str(value.get("name")),
            rules=tuple(rules[_owner(value, "name")]),
            hook=_text(value, "hook"),
            priority=value["prio"] if isinstance(value.get("prio"), int) else 0,
            policy=_text(value, "policy") or "accept",
            device=_text(value, "dev"),
        )
        for kind, value in objects
        if kind == "chain" and isinstance(value, dict)
    ]


def _owner(value: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(str(value.get(part)) for part in ("family", "table", name))


def _text(value: Mapping[str, Any], name: str) -> str | None:
    return value[name] if isinstance(value.get(name), str) else None


def _handle(value: Mapping[str, Any]) -> int | None:
    return value["handle"] if isinstance(value.get("handle"), int) else None


def _nft_rule(value: Mapping[str, Any]) -> list[Rule]:
    try:
        return list(_nft_rules(value))
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        # Whatever it is, it may be what dropped the packet.
        return [Rule("?", "drop", (Match("?"),), handle=_handle(value))]


def _only(value: Mapping[str, Any]) -> tuple[str, Any]:
    """Return what an object of one item holds; raises LookupError for an empty one."""
    for item in value.items():
        return item
    raise LookupError


def _nft_rules(value: Mapping[str, Any]) -> Iterator[Rule]:
    """Read a rule; one with a verdict map becomes one rule an element."""
    matches: list[Match] = []
    words: list[str] = []
    rule = Rule("", "continue", handle=_handle(value))
    for expression in value["expr"]:
        kind, body = _only(expression)
        if kind == "match":
            matches += _nft_match(body)
            words.append(_show_match(body))
        elif kind == "vmap":
            words.append(f"{_show(body.get('key'))} vmap {_show(body.get('data'))}")
            yield from _mapped(replace(rule, text=_join(words), matches=tuple(matches)), body)
            return
        elif kind in _VERDICTS:
            target = _text(body, "target") if isinstance(body, dict) else None
            text = _join([*words, kind, *([str(target)] if kind in ("jump", "goto") else [])])
            yield replace(rule, text=text, action=kind, matches=tuple(matches), target=target)
            return
        elif kind == "mangle" and (segment := _segment(body)) is not None:
            rule = replace(rule, segment=segment)
            words.append(f"tcp option maxseg size set {segment or 'rt mtu'}")
        elif kind == "xt" and isinstance(body, dict) and body.get("name") == "TCPMSS":
            # How much, nft does not tell of a target of iptables.
            rule = replace(rule, segment=FROM_ROUTE)
            words.append("xt target TCPMSS")
        elif kind not in _SILENT:
            # An iptables extension, a limit: nobody here can tell.
            matches.append(Match(str(kind)))
            words.append(str(kind))
    yield replace(rule, text=_join(words), matches=tuple(matches))


def _segment(body: Any) -> int | None:
    """Read the segment that a statement sets; None where it sets something else."""
    option = body["key"].get("tcp option") if isinstance(body.get("key"), dict) else None
    if not isinstance(option, dict) or option.get("name") != "maxseg":
        return None
    return body["value"] if isinstance(body.get("value"), int) else FROM_ROUTE


def _join(words: Iterable[str]) -> str:
    return " ".join(words)[:TEXT]


def _mapped(rule: Rule, body: Mapping[str, Any]) -> Iterator[Rule]:
    data = body.get("data")
    elements = data.get("set", ()) if isinstance(data, dict) else ()
    if not elements:
        # A map with a name, whose elements may say anything.
        yield replace(rule, action="drop", matches=(*rule.matches, Match("map")))
    for value, verdict in elements:
        action, target = _only(verdict)
        wanted = {"left": body.get("key"), "right": value, "op": "=="}
        yield replace(
            rule,
            action=action,
            matches=(*rule.matches, *_nft_match(wanted)),
            target=_text(target, "target") if isinstance(target, dict) else None,
        )


def _nft_match(body: Mapping[str, Any]) -> list[Match]:
    left, values = body.get("left"), tuple(_values(body.get("right")))
    negated = body.get("op") == "!="
    if body.get("op") not in ("==", "in", "!=") or not isinstance(left, dict):
        return [Match("expression")]
    kind, what = _only(left)
    key = what.get("key") if isinstance(what, dict) else None
    if kind == "meta" and key in ("iifname", "iif", "oifname", "oif"):
        return [Match(key.removesuffix("name") + "name", values, negated)]
    if kind == "meta" and key in ("l4proto", "nfproto"):
        return [Match(key, values, negated)]
    if kind == "ct" and key == "state":
        return [Match("ct state", values, negated)]
    if kind == "payload" and isinstance(what, dict):
        return _payload_match(what, values, negated=negated)
    return [Match(kind)]


def _payload_match(
    what: Mapping[str, Any], values: tuple[str, ...], *, negated: bool
) -> list[Match]:
    header, field = what.get("protocol"), str(what.get("field"))
    if header in ("ip", "ip6"):
        family = Match("nfproto", ("ipv4" if header == "ip" else "ipv6",))
        if field in ("saddr", "daddr"):
            return [family, Match(field, values, negated)]
        # Not so IPv6's next header: before GRE there may be one with the encapsulation limit.
        if header == "ip" and field == "protocol":
            return [family, Match("l4proto", values, negated)]
        return [family, Match(field)]
    if header in _TRANSPORTS:
        return [Match("l4proto", (str(header),)), Match(f"{header} {field}")]
    return [Match(field)]


def _values(right: Any) -> Iterator[str]:
    """Read the right side of a match, a value or several."""
    if isinstance(right, list):
        yield from (text for item in right for text in _values(item))
    elif isinstance(right, dict):
        for kind, body in right.items():
            if kind == "set":
                yield from _values(body)
            elif kind == "prefix":
                yield f"{body.get('addr')}/{body.get('len')}"
            elif kind == "range":
                yield "-".join(str(end) for end in body)
            else:
                yield "@"
    else:
        yield str(right)


def _show_match(body: Mapping[str, Any]) -> str:
    operator = body.get("op")
    between = " " if operator in ("==", "in") else f" {operator} "
    return f"{_show(body.get('left'))}{between}{_show(body.get('right'))}"


def _show(value: Any) -> str:
    """Write a part of a rule as nft does, near enough to be found again."""
    if isinstance(value, list):
        return ",".join(_show(item) for item in value)
    if not isinstance(value, dict) or not value:
        return str(value)
    kind, body = next((str(kind), body) for kind, body in value.items())
    if kind == "payload" and isinstance(body, dict):
        return f"{body.get('protocol')} {body.get('field')}"
    if kind in ("meta", "ct") and isinstance(body, dict):
        key = str(body.get("key"))
        return key if kind == "meta" and key[:3] in ("iif", "oif") else f"{kind} {key}"
    if kind == "set" and isinstance(body, list):
        return "{ " + ", ".join(_show_element(item) for item in body) + " }"
    if kind in ("prefix", "range"):
        return "".join(_values(value))
    return kind


def _show_element(item: Any) -> str:
    """Write an element of a set, or of a verdict map."""
    if isinstance(item, list) and isinstance(item[-1], dict):
        return f"{_show(item[0])} : {_show(item[-1])}"
    return _show(item)
