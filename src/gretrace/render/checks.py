# SPDX-License-Identifier: GPL-2.0-only
"""Checks as a table or as JSON, one object a line."""

from collections.abc import Sequence
from typing import Protocol

from gretrace.commands import Command
from gretrace.render.door import DIM, GREEN, RED, YELLOW, Painter, Shown, join, json_lines

COLORS = {"ok": GREEN, "missing": RED, "warning": YELLOW, "absent": DIM}


class Check(Protocol):
    """One thing that was looked at; `state` is a key of COLORS."""

    @property
    def name(self) -> str:
        """What was looked at."""

    @property
    def state(self) -> str:
        """How it ended."""

    @property
    def found(self) -> str:
        """What is there."""

    @property
    def remedy(self) -> str | Command | None:
        """The line that helps."""


def to_lines(checks: Sequence[Check]) -> Shown:
    """Build one JSON object a line."""
    return json_lines(
        {
            "check": check.name,
            "state": check.state,
            "found": check.found,
            "remedy": check.remedy and str(check.remedy),
        }
        for check in checks
    )


def to_text(checks: Sequence[Check], *, color: bool) -> Shown:
    """Write a line for each check, and below it the remedy where there is one."""
    paint = Painter(color=color)
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        state = (COLORS[check.state], f"{check.state:<7}")
        lines.append(paint(state, f"  {check.name:<{width}}  {check.found}"))
        if check.remedy:
            lines.append(paint(f"{'':<9}{'':<{width}}  -> {check.remedy}"))
    return join(lines)
