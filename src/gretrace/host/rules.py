# SPDX-License-Identifier: GPL-2.0-only
"""Policy routing: the rule, and its table, by which the kernel refuses a way."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import TYPE_CHECKING

from gretrace.model import Address, RefusingRule

if TYPE_CHECKING:
    from pyroute2.iproute import IPRoute
    from pyroute2.netlink import nlmsg

# uapi/linux/fib_rules.h and uapi/linux/rtnetlink.h
FIB_RULE_INVERT = 2
FR_ACT_TO_TBL = 1
ACTIONS = {6: "blackhole", 7: "unreachable", 8: "prohibit"}  # of rules, and types of routes
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
AF_INET, AF_INET6 = 2, 10
# Routes of a table that are looked at; a refusing one among more is not searched for.
ROUTES_AT_MOST = 10_000
MATCHES_UNKNOWN = ("FRA_IIFNAME", "FRA_FWMARK", "FRA_IP_PROTO", "FRA_SPORT_RANGE", "FRA_UID_RANGE")


def find_refusing_rule(
    netlink: "IPRoute", remote: Address, source: Address | None
) -> RefusingRule | None:
    """Return the first rule by which a way to an address is refused; None for the main table."""
    family = AF_INET if remote.version == 4 else AF_INET6
    rules = sorted(netlink.get_rules(family=family), key=_priority)
    for rule in rules:
        table = rule.get_attr("FRA_TABLE") or rule["table"]
        if table == RT_TABLE_LOCAL or not _applies(rule, remote, source):
            continue
        if kind := ACTIONS.get(rule["action"]):
            return RefusingRule(_priority(rule), None, kind)
        if rule["action"] != FR_ACT_TO_TBL:
            continue
        kind = next(_refusals(netlink, family, table, remote), None)
        if kind:
            return None if table == RT_TABLE_MAIN else RefusingRule(_priority(rule), table, kind)
    return None


def _priority(rule: "nlmsg") -> int:
    return int(rule.get_attr("FRA_PRIORITY") or 0)


def _applies(rule: "nlmsg", remote: Address, source: Address | None) -> bool:
    if rule["flags"] & FIB_RULE_INVERT or any(rule.get_attr(name) for name in MATCHES_UNKNOWN):
        return False
    ends = (("FRA_DST", "dst_len", remote), ("FRA_SRC", "src_len", source))
    for name, length, address in ends:
        prefix = rule.get_attr(name)
        if prefix and (
            address is None or address not in ip_network((prefix, rule[length]), strict=False)
        ):
            return False
    return True


def _refusals(netlink: "IPRoute", family: int, table: int, remote: Address) -> Iterator[str]:
    """Yield how routes of a table refuse an address."""
    for number, route in enumerate(netlink.get_routes(family=family, table=table)):
        if number >= ROUTES_AT_MOST:
            return
        kind = ACTIONS.get(route["type"])
        if kind is None:
            continue
        prefix = route.get_attr("RTA_DST") or ("0.0.0.0" if remote.version == 4 else "::")  # noqa: S104
        if remote in ip_network((prefix, route["dst_len"]), strict=False):
            yield kind
