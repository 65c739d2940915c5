"""Checks as a table or as JSON, one object a line."""

import json
from collections.abc import Sequence
from typing import Protocol

from gretrace.commands import Command
from gretrace.render.text import DIM, GREEN, RED, Painter

YELLOW = "33"
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


def to_lines(checks: Sequence[Check]) -> str:
    """Build one JSON object a line."""
    return "\n".join(
        json.dumps(
            {
                "check": c.name,
                "state": c.state,
                "found": c.found,
                "remedy": c.remedy and str(c.remedy),
            }
        )
        for c in checks
    )


def to_text(checks: Sequence[Check], *, color: bool) -> str:
    """Write a line for each check, and below it the remedy where there is one."""
    paint = Painter(color=color)
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        state = paint(COLORS[check.state], f"{check.state:<7}")
        lines.append(f"{state}  {check.name:<{width}}  {check.found}")
        if check.remedy:
            lines.append(f"{'':<9}{'':<{width}}  -> {check.remedy}")
    return "\n".join(lines)
