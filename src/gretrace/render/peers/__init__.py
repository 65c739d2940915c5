# SPDX-License-Identifier: GPL-2.0-only
"""What the peer is to change, in the words of its vendor; docs/peers.md says where they are from.

A vendor is one module with one table, and a row of VENDORS.
"""

from collections.abc import Mapping

from gretrace.model import Fix
from gretrace.render.peers.cisco import CISCO
from gretrace.render.peers.junos import JUNOS
from gretrace.render.peers.linux import LINUX
from gretrace.render.peers.routeros import ROUTEROS
from gretrace.render.peers.vendor import Vendor
from gretrace.render.peers.vyos import VYOS

__all__ = ["VENDORS", "vendors_words"]

# By what --peer calls it.
VENDORS: Mapping[str, Vendor] = {
    "cisco": CISCO,
    "junos": JUNOS,
    "routeros": ROUTEROS,
    "vyos": VYOS,
    "linux": LINUX,
}


def vendors_words(fix: Fix) -> dict[str, tuple[str, ...]]:
    """Return the lines of each vendor that has words for a fix of the peer's."""
    if fix.ask is None:
        return {}
    worded = {name: vendor.words(fix.ask) for name, vendor in VENDORS.items()}
    return {name: lines for name, lines in worded.items() if lines}
