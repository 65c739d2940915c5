# SPDX-License-Identifier: GPL-2.0-only
"""How a vendor words what the other end of a tunnel is to change."""

from collections.abc import Mapping
from dataclasses import dataclass

from gretrace.model import Ask, Change

# What stands in the words for what only the peer knows: what it calls its tunnel. Capitals, so
# that no device takes them for one that it has.
TUNNEL = "TUNNEL"
ADDRESS = "ADDRESS"


@dataclass(frozen=True, slots=True)
class Row:
    """The lines that make one change; {value} and {kind} stand for those of the Ask."""

    lines: tuple[str, ...]
    # Whether it sets what the peer expects along with what it sends.
    sets_both_ways: bool = False
    kinds: tuple[str, ...] | None = None  # of tunnel that can be told so; None: all of the vendor's


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor's words."""

    title: str  # what it calls its system
    kinds: Mapping[str, str]  # of tunnel that it has, as `ip link` names them: its own words
    rows: Mapping[Change, Row]

    def words(self, ask: Ask) -> tuple[str, ...]:
        """Return the lines of its configuration that do what is asked; none where it has none."""
        row = self.rows.get(ask.change)
        if row is None or ask.kind not in (row.kinds or self.kinds):
            return ()
        if row.sets_both_ways and not ask.both_ways:
            return ()
        value = ADDRESS if ask.value is None else ask.value
        return tuple(line.format(value=value, kind=self.kinds[ask.kind]) for line in row.lines)
