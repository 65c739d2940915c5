# SPDX-License-Identifier: GPL-2.0-only
"""Answers of the tunnel lookup: a line or a JSON object for each packet, or the whole way."""

from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from gretrace.kernel.lookup import Answer, Candidate, Mismatch, Query, Step
from gretrace.model import Tunnel
from gretrace.render.door import (
    BOLD,
    DIM,
    GREEN,
    RED,
    Painter,
    Shown,
    add,
    after,
    join,
    json_line,
    line,
    table,
    with_first,
)
from gretrace.render.record import show_time
from gretrace.wire.keys import show_key

# Why a pass goes on to the next tunnel.
PASSED_BY = {
    Mismatch.DOWN: "is down",
    Mismatch.TYPE: "other type",
    Mismatch.KEY: "other key",
    Mismatch.LOCAL: "other local",
    Mismatch.REMOTE: "other remote",
}
# Of a long chain, what a person still reads.
MET_AT_MOST = 16
NEAREST_SHOWN = 3


class JsonLookups:
    """Writes one object for each decision, flushed together with those that came with it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def prepare(self, answer: Answer) -> Shown:
        """Render all of an answer but its time."""
        record = to_record(answer)
        del record["time"]
        return json_line(record)

    def show(self, time_ns: int, prepared: Shown) -> None:
        """Write the answer to one packet."""
        add(self._stream, with_first(prepared, "time", show_time(time_ns)))

    def flush(self) -> None:
        """Let the reader have what was written."""
        self._stream.flush()

    def finish(self, _counted: list[tuple[Answer, int]]) -> None:
        """End; the summary is for people."""
        self._stream.flush()


class TextLookups:
    """Writes a line for each decision; with `walks` also how the kernel came to it."""

    def __init__(self, stream: TextIO, *, color: bool, walks: bool) -> None:
        self._stream, self._walks = stream, walks
        self._paint = Painter(color=color)

    def prepare(self, answer: Answer) -> Shown:
        """Render all of an answer but its time."""
        lines = [to_line(answer, self._paint)]
        if self._walks:
            lines += walk_lines(answer, self._paint)
        return join(lines)

    def show(self, time_ns: int, prepared: Shown) -> None:
        """Write the answer to one packet."""
        add(self._stream, after(f"{show_time(time_ns)} ", prepared))

    def flush(self) -> None:
        """Let the reader have what was written."""
        self._stream.flush()

    def finish(self, counted: list[tuple[Answer, int]]) -> None:
        """Write the table of all that was looked up."""
        add(self._stream, line(), summary(counted) if counted else line("No GRE packet came."))
        self._stream.flush()


def to_record(answer: Answer) -> dict[str, Any]:
    """Build the JSON object; absent values are None, so that key 0 and no key stay apart."""
    query = answer.query
    return {
        "time": None,
        "netns": answer.netns,
        "iif": answer.iif,
        "family": query.remote.version,
        "remote": str(query.remote),
        "local": str(query.local),
        "key": query.key,
        "flags": list(answer.flags),
        "protocol": f"{query.protocol:#06x}",
        "tunnel": answer.tunnel,
        "fallback": answer.fallback,
        "pass": answer.decided_by,
        "candidates": [
            {
                "tunnel": candidate.tunnel.name,
                "matched": not candidate.mismatches,
                "mismatches": list(candidate.mismatches),
            }
            for candidate in answer.candidates
        ],
        "disagreement": answer.disagreement,
    }


def to_line(answer: Answer, paint: Painter) -> Shown:
    """Build the line that a person reads of one packet."""
    if answer.tunnel is None:
        outcome, more = (RED, "no tunnel"), ""
        if answer.candidates:
            nearest = answer.candidates[0]
            more = f"; nearest {nearest.tunnel.name}: {differences(nearest, answer.query)}"
    elif answer.fallback:
        outcome, more = (RED, answer.tunnel), " (only the fallback took it)"
    else:
        outcome = (GREEN, answer.tunnel)
        more = f" ({answer.decided_by})" if answer.decided_by else ""
    differs = ""
    if answer.disagreement:
        differs = f"; gretrace's model says {answer.disagreement}: please report it"
    return paint(f"{_packet(answer)} -> ", outcome, more, (RED, differs))


def differences(candidate: Candidate, query: Query) -> str:
    """Tell in words what keeps a tunnel from taking a packet."""
    tunnel = candidate.tunnel
    words = {
        Mismatch.DOWN: "it is down",
        Mismatch.TYPE: f"it is a {tunnel.kind} tunnel",
        Mismatch.KEY: f"its key is {_key(tunnel.ikey)}, the packet's {_key(query.key)}",
        Mismatch.LOCAL: f"its local is {tunnel.local or 'any'}",
        Mismatch.REMOTE: f"its remote is {tunnel.remote or 'any'}",
    }
    return ", ".join(words[mismatch] for mismatch in candidate.mismatches) or "fits"


def walk_lines(answer: Answer, paint: Painter) -> list[Shown]:
    """Tell every tunnel that the kernel met, pass by pass, and why it went on."""
    lines = []
    steps = answer.walk().steps
    for step in steps:
        lines.append(paint((DIM, f"    {step.kind} bucket {step.bucket}, {step.decided_by}:")))
        lines += [paint(f"      {met}") for met in _met(step, answer)]
    if answer.decided_by and answer.decided_by not in {step.decided_by for step in steps}:
        lines.append(paint((DIM, f"    {answer.decided_by}:")))
        lines.append(paint(f"      {answer.tunnel} is up: it takes what is left"))
    return lines


def explanation(answer: Answer, *, color: bool, walks: bool) -> Shown:
    """Answer a lookup that was asked for without a packet."""
    paint = Painter(color=color)
    lines = [paint((BOLD, _verdict(answer)))]
    near = [c for c in answer.candidates if c.tunnel.name != answer.tunnel][:NEAREST_SHOWN]
    if answer.tunnel is None or answer.fallback:
        lines += [
            paint(f"  {label:<8}{_tunnel(c.tunnel)}: {differences(c, answer.query)}")
            for label, c in zip(("nearest", "", ""), near, strict=False)
        ]
    else:
        lines += [
            paint(f"  {'beside':<8}{_tunnel(c.tunnel)} would take it too, but comes later")
            for c in near
            if not c.mismatches
        ]
    if walks:
        lines += walk_lines(answer, paint)
    return join(lines)


def summary(counted: Iterable[tuple[Answer, int]]) -> Shown:
    """Make the table of all lookups, the most frequent first."""
    every = list(counted)
    several = len({answer.netns for answer, _ in every}) > 1
    rows = [
        {
            "packets": count,
            "tunnel": answer.tunnel or "none",
            "decided by": answer.decided_by or "-",
            "remote": answer.query.remote,
            "local": answer.query.local,
            "key": _key(answer.query.key),
            "protocol": f"{answer.query.protocol:#06x}",
            "iif": answer.iif or "-",
            **({"namespace": answer.namespace or answer.netns} if several else {}),
        }
        for answer, count in every
    ]
    return table(rows)


def _packet(answer: Answer) -> str:
    query = answer.query
    words = [answer.iif or "?", f"{query.remote} > {query.local}", show_key(query.key)]
    words += [flag for flag in answer.flags if flag != "key"]
    words.append(f"{query.protocol:#06x}")
    if answer.namespace:
        words.insert(0, f"[{answer.namespace}]")
    return " ".join(words)


def _verdict(answer: Answer) -> str:
    query = answer.query
    packet = f"{query.remote} > {query.local}, {show_key(query.key)}, {query.protocol:#06x}"
    packet += f" on {answer.iif}" if answer.iif else ""
    if answer.tunnel is None:
        return f"{packet}: no tunnel takes it, the kernel drops it."
    if answer.fallback:
        return f"{packet}: only {answer.tunnel} takes it, the kernel's fallback device."
    return f"{packet}: {answer.tunnel} takes it ({answer.decided_by})."


def _met(step: Step, answer: Answer) -> Sequence[str]:
    if not step.met:
        return ["empty"]
    lines = [_meeting(candidate, answer) for candidate in step.met[:MET_AT_MOST]]
    if len(step.met) > MET_AT_MOST:
        lines.append(f"and {len(step.met) - MET_AT_MOST} more")
    return lines


def _meeting(candidate: Candidate, answer: Answer) -> str:
    tunnel, query = candidate.tunnel, answer.query
    if candidate.mismatches:
        return f"{_tunnel(tunnel)}: {', '.join(PASSED_BY[m] for m in candidate.mismatches)}"
    if tunnel.link == query.link:
        return f"{_tunnel(tunnel)}: fits"
    bound = f"bound to {tunnel.link_name}" if tunnel.link else "bound to no device"
    return f"{_tunnel(tunnel)}: fits, but is {bound}; kept in case nothing fits better"


def _tunnel(tunnel: Tunnel) -> str:
    state = "" if tunnel.up else ", down"
    return (
        f"{tunnel.name} ({tunnel.kind} remote {tunnel.remote or 'any'} "
        f"local {tunnel.local or 'any'} key {_key(tunnel.ikey)}{state})"
    )


def _key(key: int | None) -> str:
    return "none" if key is None else str(key)
