# SPDX-License-Identifier: GPL-2.0-only
"""Reports as a person reads them: a block for each cause, and counts that grow."""

from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from gretrace.model import Confidence, Fix, Report, Total, Verdict
from gretrace.render.door import (
    BOLD,
    DIM,
    GREEN,
    RED,
    Painter,
    Shown,
    add,
    cut,
    join,
    line,
    take_back,
)
from gretrace.render.peers import VENDORS, vendors_words
from gretrace.render.peers.vendor import TUNNEL
from gretrace.render.record import advice, show_time
from gretrace.render.summary import summary
from gretrace.wire.keys import show_key

LABEL_WIDTH = 8
# The counts that grow in place must leave room for the blocks.
FOOTER_LINES = 8
# Reports that are remembered as shown.
KEPT_AT_MOST = 1 << 17
EMPTY = line()


class TextReports:
    """Writes blocks as they come and keeps the counts below them up to date.

    On a terminal, `width` columns wide, the counts grow in place; elsewhere, where
    `width` is None, each growth is a line. `peer` is the vendor in whose words the peer is told
    what to change, a name of VENDORS.
    """

    def __init__(
        self, stream: TextIO, *, color: bool, width: int | None, peer: str | None = None
    ) -> None:
        self._stream = stream
        self._peer = peer
        self._paint = Painter(color=color)
        self._width = width
        # Of the newest reports only: the others have no room in the footer.
        self._counts: dict[object, Shown] = {}
        # Of a flood of forged packets each is a report: no more than hashes are kept of them,
        # and of the latest only.
        self._advised: dict[object, int] = {}
        self._explained: dict[int, None] = {}
        self._footer_height = 0

    def show(self, identity: object, report: Report) -> None:
        """Write a report that is new, or whose count has grown."""
        self._erase_footer()
        count = line(f"{report.count:>9}  {headline(report)}")
        known, advice = self._advised.get(identity), hash(_advice(report.verdict))
        # Evidence moves with every look; what to believe and to do must not change unseen.
        if known != advice:
            add(self._stream, *self._introduce(report))
        elif not self._width:
            add(self._stream, count)
        _keep(self._advised, identity, advice)
        if known is None or identity in self._counts:
            self._counts[identity] = count
        if len(self._counts) > FOOTER_LINES:
            del self._counts[next(iter(self._counts))]
        self._draw_footer()
        self._stream.flush()

    def finish(self, totals: Iterable[Total], heard: Mapping[str, int]) -> None:
        """Write the summary table; where nothing was dropped, what did arrive."""
        self._erase_footer()
        every = list(totals)
        add(self._stream, *((EMPTY, summary(every)) if every else (nothing_dropped(heard),)))
        self._stream.flush()

    def _introduce(self, report: Report) -> tuple[Shown, ...]:
        """Explain a cause once; of the same fault with another payload, say just that."""
        seen, verdict = report.tuple, report.verdict
        fault = hash(
            (
                *(verdict.cause, *_advice(verdict), report.drop.netns, report.drop.place),
                *(seen.remote, seen.local, seen.key),
            )
        )
        if fault in self._explained and verdict.cause != "other":
            return self._paint((RED, "DROP"), f" {headline(report)}: as above"), EMPTY
        _keep(self._explained, fault, None)
        return block(report, self._paint, self._peer), EMPTY

    def _draw_footer(self) -> None:
        if self._width:
            shown = [cut(count, self._width - 1) for count in self._counts.values()]
            add(self._stream, *shown)
            self._footer_height = len(shown)

    def _erase_footer(self) -> None:
        if self._footer_height:
            take_back(self._stream, self._footer_height)
            self._footer_height = 0


def _keep(kept: dict[Any, Any], key: object, value: object) -> None:
    """Keep a value as the latest, in place of the oldest where there are too many."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > KEPT_AT_MOST:
        del kept[next(iter(kept))]


def _advice(verdict: Verdict) -> tuple[object, ...]:
    return verdict.finding.summary, verdict.finding.fix, verdict.finding.confidence


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


def block(report: Report, paint: Painter, peer: str | None = None) -> Shown:
    """Explain one cause in full."""
    drop, finding = report.drop, report.verdict.finding
    tunnel = f" {finding.tunnel}" if finding.tunnel else ""
    likely = " (likely, not certain)" if finding.confidence is Confidence.LIKELY else ""
    kernel = f"{drop.place}, {drop.reason or 'no reason given'}"
    kernel += f"; namespace {report.namespace or drop.netns}"
    lines = [
        paint((RED, f"DROP {report.verdict.cause}"), f"{tunnel}{likely}"),
        paint("  ", (BOLD, finding.summary)),
        paint(_labelled("died", " -> ".join(finding.path)), (RED, " x")),
        *(paint(_labelled("" if i else "seen", said)) for i, said in enumerate(finding.evidence)),
        *(line for fix in finding.fix for line in _fix_lines(fix, paint, peer)),
        paint((DIM, _labelled("kernel", kernel))),
        paint(_labelled("count", f"{report.count}, the first at {show_time(report.first_ns)}")),
    ]
    return join(lines)


def nothing_dropped(heard: Mapping[str, int]) -> Shown:
    """Tell a healthy tunnel from one to which nothing came."""
    lines = ["No GRE packet was dropped."]
    for name, packets in heard.items():
        if packets:
            lines.append(f"{name} received {packets} packets meanwhile.")
        else:
            lines.append(
                f"{name} received nothing meanwhile: if its peer sends, it is lost before."
            )
    return join(map(line, lines))


def _fix_lines(fix: Fix, paint: Painter, peer: str | None) -> list[Shown]:
    note, command = advice(fix)
    lines = [paint(_labelled(fix.where.value, note))]
    typed = [command] if command else []
    if peer and (words := vendors_words(fix).get(peer)):
        said = f"On {VENDORS[peer].title}, where {TUNNEL} stands for what the tunnel is called:"
        lines.append(paint(_labelled("", said)))
        typed += words
    return lines + [paint(_labelled("", ""), (GREEN, text)) for text in typed]


def _labelled(label: str, text: str) -> str:
    return f"  {label:<{LABEL_WIDTH}}{text}"
