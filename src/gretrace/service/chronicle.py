# SPDX-License-Identifier: GPL-2.0-only
"""Troubles as records of the journal: one when a trouble begins, one when it has ended."""

import time
from collections.abc import Callable, Iterator, Mapping

from gretrace.model import Finding, Report
from gretrace.plain import plain
from gretrace.render.record import advice
from gretrace.service.ledger import Entry, Place
from gretrace.service.systemd import Journal
from gretrace.service.troubles import Trouble, Troubles

# How often it is looked whether a trouble has ended, in seconds.
CHECK = 15.0
# Records at once, and a second in the long run.
BURST, RATE = 60, 1.0
# Of the journal: to find all of one kind (`journalctl MESSAGE_ID=..`); made by chance, once.
BEGUN, ENDED = "5c1f0c7d1a6b4d4b9a3c7f6e2d8b9e41", "b1d6a0f2c94e4c0f8e57a3d2916c7b08"
WARNING, NOTICE = "4", "5"  # syslog(3)


class Chronicle:
    """Writes them, as many as a journal can bear; those above are counted and told of."""

    def __init__(self, journal: Journal, clock: Callable[[], float] = time.monotonic) -> None:
        self._journal, self._clock = journal, clock
        self._troubles = Troubles()
        self._allowance, self._counted_at = float(BURST), clock()
        self._checked_at = -CHECK
        self.left_out = 0

    @property
    def lost(self) -> int:
        """Records that the journal did not take, or that were too many."""
        return self._journal.lost + self.left_out

    def note(self, entry: Entry, report: Report) -> None:
        """Write that a trouble begins, if it does with this report."""
        begun = self._troubles.note(entry, report, self._clock())
        if begun:
            self._write(_record_of_begin(begun))

    def is_due(self) -> bool:
        """Whether to read what tunnels have received, and to call `settle`."""
        now = self._clock()
        return now - self._checked_at >= CHECK and self._troubles.is_due(now)

    def settle(self, received: Mapping[Place, int]) -> None:
        """Write what has ended, by what each tunnel that is there has received so far."""
        now = self._checked_at = self._clock()
        for trouble in self._troubles.ended(received, now):
            self._write(_record_of_end(trouble))

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _write(self, record: Iterator[tuple[str, str]]) -> None:
        now = self._clock()
        grown = self._allowance + RATE * (now - self._counted_at)
        self._allowance, self._counted_at = min(BURST, grown), now
        if self._allowance < 1:
            self.left_out += 1
            return
        self._allowance -= 1
        fields = dict(record)
        if self.left_out:
            fields["GRETRACE_LEFT_OUT"] = str(self.left_out)
        self._journal.send({name: _lines(value) for name, value in fields.items()})


def _record_of_begin(trouble: Trouble) -> Iterator[tuple[str, str]]:
    report = trouble.report
    finding = report.verdict.finding
    yield "MESSAGE", f"{_what(trouble)}: {finding.summary}"
    yield "MESSAGE_ID", BEGUN
    yield "PRIORITY", WARNING
    yield "GRETRACE_EVENT", "begun"
    yield from _common(trouble)
    yield "GRETRACE_CONFIDENCE", finding.confidence.value
    yield "GRETRACE_EVIDENCE", "\n".join(finding.evidence)
    yield "GRETRACE_FIX", "\n".join(_fixes(finding))
    yield "GRETRACE_KERNEL", f"{report.drop.place}, {report.drop.reason or 'no reason'}"


def _record_of_end(trouble: Trouble) -> Iterator[tuple[str, str]]:
    packets = trouble.count - trouble.before
    event, how = ("mended", "it receives") if trouble.is_mended else ("ended", "no more since")
    yield "MESSAGE", f"{_what(trouble)} {event}: {packets} packets were dropped, {how}"
    yield "MESSAGE_ID", ENDED
    yield "PRIORITY", NOTICE
    yield "GRETRACE_EVENT", event
    yield from _common(trouble)
    yield "GRETRACE_SECONDS", str(round(trouble.dropped - trouble.began))


def _what(trouble: Trouble) -> str:
    cause, namespace, tunnel = trouble.entry
    where = f" in {namespace}" if namespace else ""
    return f"{cause} at {tunnel}{where}" if tunnel else cause


def _common(trouble: Trouble) -> Iterator[tuple[str, str]]:
    cause, namespace, tunnel = trouble.entry
    report = trouble.report
    seen = report.tuple
    yield "SYSLOG_IDENTIFIER", "gretrace"
    yield "GRETRACE_CAUSE", cause
    yield "GRETRACE_NAMESPACE", namespace
    yield "GRETRACE_TUNNEL", tunnel
    yield "GRETRACE_COUNT", str(trouble.count - trouble.before)
    yield "GRETRACE_IIF", report.iif or ""
    for name, value in (("REMOTE", seen.remote), ("LOCAL", seen.local), ("KEY", seen.key)):
        yield f"GRETRACE_{name}", "" if value is None else str(value)


def _fixes(finding: Finding) -> Iterator[str]:
    for fix in finding.fix:
        note, command = advice(fix)
        yield f"{fix.where.value}: {note}"
        if command:
            yield command


def _lines(text: str) -> str:
    return "\n".join(map(plain, text.split("\n")))
