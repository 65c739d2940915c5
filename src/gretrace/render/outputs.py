# SPDX-License-Identifier: GPL-2.0-only
"""Outputs: each form in which commands show what they found is a class, and a row of OUTPUTS."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TextIO

from gretrace.kernel.lookup import Answer
from gretrace.model import Keepalive, Report, Total
from gretrace.render import checks as shown_checks
from gretrace.render import keepalive as shown_keepalive
from gretrace.render import listing as shown_listing
from gretrace.render import lookup as shown_lookup
from gretrace.render.checks import Check
from gretrace.render.door import Shown, json_line, put
from gretrace.render.listing import Listed
from gretrace.render.record import JsonReports
from gretrace.render.text import TextReports


class Reports(Protocol):
    """Writes reports of drops as they come."""

    def show(self, identity: object, report: Report) -> None:
        """Write a report that is new, or whose count has grown."""

    def finish(self, totals: Iterable[Total], heard: Mapping[str, int]) -> None:
        """End."""


class Lookups(Protocol):
    """Writes decisions of the kernel as they come."""

    def prepare(self, answer: Answer) -> Shown:
        """Render all of an answer but its time."""

    def show(self, time_ns: int, prepared: Shown) -> None:
        """Write the answer to one packet."""

    def flush(self) -> None:
        """Let the reader have what was written."""

    def finish(self, counted: list[tuple[Answer, int]]) -> None:
        """End."""


class Output(ABC):
    """One form of all that commands show.

    `color` is whether a terminal's colours may be used, and `width` the terminal's columns, None
    where it is none.
    """

    def __init__(self, stream: TextIO, *, color: bool = False, width: int | None = None) -> None:
        self._stream, self._color, self._width = stream, color, width

    @abstractmethod
    def reports(self, *, peer: str | None = None) -> Reports:
        """Return what writes the reports of `explain-drop`, `peer` being the peers' vendor."""

    @abstractmethod
    def lookups(self, *, walks: bool) -> Lookups:
        """Return what writes the decisions of `lookup --follow`, if `walks` with every step."""

    @abstractmethod
    def keepalives(self, *, headers: bool) -> Callable[[Keepalive], None]:
        """Return what writes a keepalive of `respond --follow`, if `headers` with its bytes."""

    @abstractmethod
    def answer(self, answer: Answer, *, walks: bool) -> None:
        """Write the answer of `lookup`, if `walks` with every step."""

    @abstractmethod
    def checks(self, checks: Sequence[Check]) -> None:
        """Write what `check` found."""

    @abstractmethod
    def tunnels(self, listing: Sequence[Listed], now_ns: int) -> None:
        """Write tunnels; `now_ns` is CLOCK_REALTIME."""

    @abstractmethod
    def responders(self, listing: Sequence[Listed]) -> None:
        """Write which tunnels got a responder."""


class TextOutput(Output):
    """Tables, blocks and lines, as a person reads them."""

    def reports(self, *, peer: str | None = None) -> Reports:
        """Write blocks, with counts that grow."""
        return TextReports(self._stream, color=self._color, width=self._width, peer=peer)

    def lookups(self, *, walks: bool) -> Lookups:
        """Write a line each."""
        return shown_lookup.TextLookups(self._stream, color=self._color, walks=walks)

    def keepalives(self, *, headers: bool) -> Callable[[Keepalive], None]:
        """Write a line each."""
        return lambda keepalive: put(
            self._stream, shown_keepalive.to_line(keepalive, headers=headers)
        )

    def answer(self, answer: Answer, *, walks: bool) -> None:
        """Write sentences."""
        put(self._stream, shown_lookup.explanation(answer, color=self._color, walks=walks))

    def checks(self, checks: Sequence[Check]) -> None:
        """Write a line each, and what helps."""
        put(self._stream, shown_checks.to_text(checks, color=self._color))

    def tunnels(self, listing: Sequence[Listed], now_ns: int) -> None:
        """Write a table."""
        put(self._stream, shown_listing.tunnel_table(listing, now_ns))

    def responders(self, listing: Sequence[Listed]) -> None:
        """Write a table."""
        put(self._stream, shown_listing.responder_table(listing))


class JsonOutput(Output):
    """One object a line, flushed per line; summaries are for people and left out."""

    def reports(self, *, peer: str | None = None) -> Reports:  # noqa: ARG002 - it has all vendors
        """Write an object each time that a count has grown."""
        return JsonReports(self._stream)

    def lookups(self, *, walks: bool) -> Lookups:  # noqa: ARG002 - steps are for people
        """Write an object each."""
        return shown_lookup.JsonLookups(self._stream)

    def keepalives(self, *, headers: bool) -> Callable[[Keepalive], None]:
        """Write an object each."""
        return lambda keepalive: put(
            self._stream, json_line(shown_keepalive.to_record(keepalive, headers=headers))
        )

    def answer(self, answer: Answer, *, walks: bool) -> None:  # noqa: ARG002
        """Write one object."""
        put(self._stream, json_line(shown_lookup.to_record(answer)))

    def checks(self, checks: Sequence[Check]) -> None:
        """Write an object each."""
        put(self._stream, shown_checks.to_lines(checks))

    def tunnels(self, listing: Sequence[Listed], now_ns: int) -> None:  # noqa: ARG002
        """Write an object each, with times and no ages."""
        put(self._stream, shown_listing.to_lines(listing))

    def responders(self, listing: Sequence[Listed]) -> None:
        """Write an object each."""
        put(self._stream, shown_listing.responder_lines(listing))


# By the words of -o.
OUTPUTS: Mapping[str, type[Output]] = {"table": TextOutput, "json": JsonOutput}
