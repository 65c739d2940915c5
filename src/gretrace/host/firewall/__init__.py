# SPDX-License-Identifier: GPL-2.0-only
"""The chains of netfilter as the tools of a namespace list them.

There is no reading them without a tool: what the kernel has are nft's expressions, which
only nft turns into rules again.
"""

import os
import time
from collections.abc import Callable

from gretrace.host.firewall.iptables import parse_iptables
from gretrace.host.firewall.listing import Unread, list_all
from gretrace.host.firewall.nft import parse_nft
from gretrace.host.namespaces import Namespace
from gretrace.kernel.droppers import Ruleset

LEGACY = {"iptables-legacy": "ip", "ip6tables-legacy": "ip6"}
COMMANDS = {
    "nft": ("nft", "-j", "-t", "list", "ruleset"),
    **{tool: (f"{tool}-save",) for tool in LEGACY},
}

# Seconds that the tools may take. Whoever may make a namespace may give it a ruleset that takes
# longer, and a fault elsewhere is to be told meanwhile.
PATIENCE = 2.0
# A reading that takes longer than so many seconds is slow, and is kept for so many times as long.
QUICK, REST = 0.25, 4
# All slow readings together take this share of the time at most, but for so many seconds at once:
# on a slow machine every one is slow. A reading may take half of what is left.
SHARE, AT_ONCE = 1 / (1 + REST), 2 * PATIENCE

NO_TOOL = "without nft or iptables"


def _never() -> bool:
    return False


class Rulesets:
    """The rulesets of namespaces, each read when it is asked for; a slow one is kept for a while.

    Where `stopped` says so, no more is read.
    """

    def __init__(self, stopped: Callable[[], bool] = _never) -> None:
        self._stopped = stopped
        self._kept: dict[int, tuple[float, Ruleset]] = {}
        # Seconds that slow readings may take, and as of when.
        self._left, self._as_of = AT_ONCE, time.monotonic()

    def of(self, namespace: Namespace) -> Ruleset:
        """Return the chains of a namespace, or why they cannot be read."""
        begin = time.monotonic()
        self._kept = {inode: kept for inode, kept in self._kept.items() if kept[0] > begin}
        if namespace.inode in self._kept:
            return self._kept[namespace.inode][1]
        self._left = min(AT_ONCE, self._left + SHARE * (begin - self._as_of))
        self._as_of = begin
        patience = max(QUICK, min(PATIENCE, self._left / 2))
        ruleset = read_ruleset(namespace, patience, self._stopped)
        end = time.monotonic()
        if end - begin > QUICK:
            self._kept[namespace.inode] = end + REST * (end - begin), ruleset
            self._left -= end - begin
        return ruleset


def read_ruleset(
    namespace: Namespace, patience: float = PATIENCE, stopped: Callable[[], bool] = _never
) -> Ruleset:
    """Read all chains of a namespace, in `patience` seconds or not at all."""
    texts = list_all(namespace, COMMANDS, patience, stopped)
    for text in texts.values():
        if isinstance(text, Unread):
            return Ruleset(unread=text.why)
    if all(text is None for text in texts.values()):
        return Ruleset(unread=NO_TOOL)
    chains = parse_nft(_text(texts["nft"]))
    for tool, family in LEGACY.items():
        chains += parse_iptables(_text(texts[tool]), tool, family)
    return Ruleset(chains)


def _text(listed: bytes | Unread | None) -> str:
    return os.fsdecode(listed) if isinstance(listed, bytes) else ""
