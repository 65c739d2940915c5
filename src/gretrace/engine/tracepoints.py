# SPDX-License-Identifier: GPL-2.0-only
"""What tracefs says of a tracepoint: the only description where the kernel has no BTF."""

import re
from pathlib import Path

from gretrace.errors import PrerequisiteError

TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))


def has_field(tracepoint: str, field: str) -> bool:
    """Whether the records of a tracepoint, as "skb/kfree_skb", have a field.

    Raises PrerequisiteError when it cannot be asked.
    """
    return f" {field};" in _format(tracepoint)


def named_values(tracepoint: str) -> dict[int, str]:
    """Return the names that a tracepoint prints for numbers; empty where it cannot be asked."""
    try:
        said = _format(tracepoint)
    except PrerequisiteError:
        return {}
    return {int(value): name for value, name in re.findall(r'\{ (\d+), "(\w+)" \}', said)}


def _format(tracepoint: str) -> str:
    for root in TRACEFS:
        path = root / "events" / tracepoint / "format"
        if path.exists():
            return path.read_text(encoding="ascii", errors="replace")
    raise PrerequisiteError(
        f"tracefs is not mounted, so nothing says what the tracepoint {tracepoint} has",
        "mount it: mount -t tracefs tracefs /sys/kernel/tracing",
    )
