# SPDX-License-Identifier: GPL-2.0-only
"""Keepalives as lines and as JSON, one each."""

from typing import Any

from gretrace.model import Keepalive
from gretrace.render.door import Shown, line
from gretrace.render.record import show_time

# As many bytes as a person reads at once.
SHOWN = 32


def to_record(keepalive: Keepalive, *, headers: bool) -> dict[str, Any]:
    """Build the JSON object; `headers` adds the bytes that the program saw."""
    inner = keepalive.inner
    return {
        "time": show_time(keepalive.time_ns),
        "tunnel": keepalive.tunnel,
        "outcome": keepalive.outcome,
        "src": str(inner.remote) if inner else None,
        "dst": str(inner.local) if inner else None,
        **({"header": keepalive.header[:SHOWN].hex()} if headers else {}),
    }


def to_line(keepalive: Keepalive, *, headers: bool) -> Shown:
    """Build the line that a person reads."""
    inner = keepalive.inner
    ends = f"{inner.remote} > {inner.local}" if inner else "not IP"
    return line(
        f"{show_time(keepalive.time_ns)} {keepalive.tunnel} {keepalive.outcome:<10} {ends}",
        f"  {keepalive.header[:SHOWN].hex(' ', 4)}" if headers else "",
    )
