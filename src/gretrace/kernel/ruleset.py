# SPDX-License-Identifier: GPL-2.0-only
"""Netfilter's chains and rules, and whether a rule applies to a packet.

What a rule wants is read as far as the packet can tell; of the rest (marks, sets, limits,
the state of a connection) it is not known whether it holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from ipaddress import ip_address, ip_network
from typing import TypeAlias

# What is known of a packet, by the name that nft has for it; what is not known is left out.
Facts: TypeAlias = Mapping[str, str]

# So many characters of a rule are kept to show it by; its sets may have thousands of elements.
TEXT = 200
# A segment that a rule takes from the route.
FROM_ROUTE = 0

ADDRESSES = ("saddr", "daddr")
# What is compared again and again; a value of a rule is read once for all the packets of a look.
_RANGES_KEPT = 1 << 14
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
    # To how many bytes at most it sets what a SYN announces; FROM_ROUTE: what its route takes.
    segment: int | None = None

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


def _equals(field: str, fact: str, value: str) -> bool | None:
    """Compare what is known with a value as nft writes it; None where it is not understood."""
    if value.startswith("@"):
        return None
    if field in ("iifname", "oifname"):
        return fact.startswith(value[:-1]) if value.endswith("*") else fact == value
    if field == "l4proto":
        number = _PROTOCOLS.get(value.lower(), value)
        return str(number) == fact if str(number).isdigit() else None
    if field in ADDRESSES:
        return _holds(value, fact)
    return fact == value


def _holds(value: str, fact: str) -> bool | None:
    """Whether an address, a prefix or a range holds an address."""
    held, address = range_of(value), range_of(fact)
    if held is None or address is None:
        return None
    version, low, high = held
    return address[0] == version and low <= address[1] <= high


@lru_cache(_RANGES_KEPT)
def range_of(value: str) -> tuple[int, int, int] | None:
    """Read an address, a prefix or a range as IP version, first and last address.

    None where it is not understood.
    """
    first, dash, last = value.partition("-")
    try:
        if dash:
            low, high = ip_address(first), ip_address(last)
            return (low.version, int(low), int(high)) if low.version == high.version else None
        if "/" not in value:
            address = ip_address(value)
            return address.version, int(address), int(address)
        network = ip_network(value, strict=False)
    except ValueError:
        return None
    return network.version, int(network[0]), int(network[-1])
