"""Reports as a person reads them: a block for each cause, and counts that grow."""

from collections.abc import Iterable
from typing import TextIO

from gretrace.keys import show_key
from gretrace.model import Confidence, Fix, Report
from gretrace.render.record import show_time

BOLD, RED, GREEN, DIM = "1", "1;31", "32", "2"
LABEL_WIDTH = 8
# The counts that grow in place must leave room for the blocks.
FOOTER_LINES = 8


class Painter:
    """Colours text, or does not."""

    def __init__(self, *, color: bool) -> None:
        self._color = color

    def __call__(self, code: str, text: str) -> str:
        """Wrap text in an ANSI colour."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._color else text


class TextOutput:
    """Writes blocks as they come and keeps the counts below them up to date.

    On a terminal the counts grow in place; elsewhere each growth is a line.
    """

    def __init__(self, stream: TextIO, *, color: bool, terminal: bool) -> None:
        self._stream = stream
        self._paint = Painter(color=color)
        self._terminal = terminal
        self._counts: dict[object, str] = {}
        self._footer_height = 0
        self._explained: set[tuple[object, ...]] = set()

    def show(self, identity: object, report: Report) -> None:
        """Write a report that is new, or whose count has grown."""
        self._erase_footer()
        count = f"{report.count:>9}  {headline(report)}"
        if identity not in self._counts:
            self._write(self._introduce(report))
        elif not self._terminal:
            self._write(count)
        self._counts[identity] = count
        self._draw_footer()
        self._stream.flush()

    def finish(self, reports: Iterable[Report]) -> None:
        """Write the summary table."""
        self._erase_footer()
        self._write(summary(list(reports)))
        self._stream.flush()

    def _introduce(self, report: Report) -> str:
        """Explain a cause once; of the same fault with another payload, say just that."""
        seen, verdict = report.tuple, report.verdict
        fault = (
            *(verdict.cause, verdict.finding.tunnel, report.drop.netns, report.drop.place),
            *(seen.remote, seen.local, seen.key),
        )
        if fault in self._explained and verdict.cause != "other":
            return self._paint(RED, "DROP") + f" {headline(report)}: as above\n"
        self._explained.add(fault)
        return block(report, self._paint) + "\n"

    def _draw_footer(self) -> None:
        if self._terminal:
            shown = list(self._counts.values())[-FOOTER_LINES:]
            self._write("\n".join(shown))
            self._footer_height = len(shown)

    def _erase_footer(self) -> None:
        if self._footer_height:
            self._stream.write(f"\x1b[{self._footer_height}A\x1b[J")
            self._footer_height = 0

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")


def headline(report: Report) -> str:
    """Name a report in one line, as the counts do."""
    seen, tunnel = report.tuple, report.verdict.finding.tunnel
    words = [report.verdict.cause]
    if tunnel:
        words.append(tunnel)
    words.append(f"{seen.remote or 'any'} > {seen.local or 'any'}, {show_key(seen.key)}")
    if seen.protocol is not None:
        words.append(f"{seen.protocol:#06x}")
    return " ".join(words)


def block(report: Report, paint: Painter) -> str:
    """Explain one cause in full."""
    drop, finding = report.drop, report.verdict.finding
    title = f"DROP {report.verdict.cause}"
    kernel = f"{drop.place}, {drop.reason or 'no reason given'}; netns {drop.netns}"
    if finding.confidence is Confidence.LIKELY:
        kernel += "; the cause is likely, not certain"
    lines = [
        paint(RED, title) + (f" {finding.tunnel}" if finding.tunnel else ""),
        "  " + paint(BOLD, finding.summary),
        _labelled("path", " -> ".join(finding.path) + paint(RED, " x")),
        *(_labelled("" if i else "seen", line) for i, line in enumerate(finding.evidence)),
        *(line for fix in finding.fix for line in _fix_lines(fix, paint)),
        paint(DIM, _labelled("kernel", kernel)),
        _labelled("count", f"{report.count} since {show_time(report.first_ns)}"),
    ]
    return "\n".join(lines)


def summary(reports: list[Report]) -> str:
    """Make the table of all reports, most frequent first."""
    if not reports:
        return "No GRE packet was dropped."
    from tabulate import tabulate

    rows = [
        (
            *(report.count, report.verdict.cause, report.verdict.finding.tunnel or "-"),
            *(report.tuple.remote or "any", report.tuple.local or "any"),
            *("none" if report.tuple.key is None else report.tuple.key, report.iif or "-"),
        )
        for report in sorted(reports, key=lambda report: -report.count)
    ]
    headers = ("packets", "cause", "tunnel", "remote", "local", "key", "iif")
    return tabulate(rows, headers, disable_numparse=True)


def _fix_lines(fix: Fix, paint: Painter) -> list[str]:
    lines = [_labelled(fix.where.value, fix.note)]
    if fix.command:
        lines.append(_labelled("", paint(GREEN, fix.command)))
    return lines


def _labelled(label: str, text: str) -> str:
    return f"  {label:<{LABEL_WIDTH}}{text}"
