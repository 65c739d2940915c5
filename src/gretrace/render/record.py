# SPDX-License-Identifier: GPL-2.0-only
"""A report as the JSON object of `explain-drop`: stable names, every one always there."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

from gretrace.model import Fix, Report, Total, Where
from gretrace.render.door import json_line, put
from gretrace.render.peers import vendors_words


def to_record(report: Report) -> dict[str, Any]:
    """Build the object; absent values are None, so that key 0 and no key stay apart."""
    drop, seen, finding = report.drop, report.tuple, report.verdict.finding
    return {
        "id": report.id,
        "time": show_time(report.last_ns),
        "first_seen": show_time(report.first_ns),
        "cause": report.verdict.cause,
        "count": report.count,
        "netns": drop.netns,
        "iif": report.iif,
        "family": seen.family,
        "remote": _text(seen.remote),
        "local": _text(seen.local),
        "key": seen.key,
        "flags": list(seen.flags),
        "protocol": None if seen.protocol is None else f"{seen.protocol:#06x}",
        "inner": _inner(report),
        "tunnel": finding.tunnel,
        "summary": finding.summary,
        "evidence": list(finding.evidence),
        "fix": list(map(_fix, finding.fix)),
        "kernel": {
            "function": drop.place.function,
            "module": drop.place.module,
            "reason": drop.reason,
        },
        "confidence": finding.confidence.value,
    }


def _fix(fix: Fix) -> dict[str, Any]:
    note, command = advice(fix)
    record: dict[str, Any] = {"where": fix.where.value, "command": command, "note": note}
    if fix.where is Where.PEER:
        record["vendors"] = {name: list(lines) for name, lines in vendors_words(fix).items()}
    return record


def advice(fix: Fix) -> tuple[str, str | None]:
    """Return the note of a fix, and its command as it is typed, where it can be."""
    if fix.command is None:
        return fix.note, None
    lacks = fix.command.obstacle
    return f"{fix.note} No command: {lacks}." if lacks else fix.note, fix.command.text


class JsonReports:
    """Writes one object a line, flushed per line; the summary is for people and left out."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, _identity: object, report: Report) -> None:
        """Write a report that is new, or whose count has grown."""
        put(self._stream, json_line(to_record(report)))

    def finish(self, _totals: Iterable[Total], _heard: Mapping[str, int]) -> None:
        """End; the last line of each report has its final count already."""


def show_time(nanoseconds: int) -> str:
    """Write CLOCK_REALTIME nanoseconds as RFC 3339, in UTC, to the microsecond."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{_show_second(seconds)}.{rest // 1000:06d}Z"


# Of the thousands of packets of a second, only the first pays for the calendar.
@lru_cache(maxsize=2)
def _show_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def _inner(report: Report) -> dict[str, Any] | None:
    packet = report.drop.packet
    if packet is None:
        return None
    if report.drop.on_tunnel:
        source, destination, protocol = packet.remote, packet.local, packet.protocol
    elif packet.inner:
        inner = packet.inner
        source, destination, protocol = inner.source, inner.destination, inner.protocol
    else:
        return None
    return {"src": str(source), "dst": str(destination), "protocol": protocol}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
