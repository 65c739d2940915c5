# SPDX-License-Identifier: GPL-2.0-only
"""The one way out: all that is printed passes here, and nothing that acts on a terminal does."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NewType, TextIO
from unicodedata import east_asian_width

from gretrace.plain import plain

# Lines that are fit to be printed. Only the functions of this module make such.
Shown = NewType("Shown", str)

BOLD, RED, GREEN, YELLOW, DIM = "1", "1;31", "32", "33", "2"

# json.dumps() would make an encoder for each object. What is beyond ASCII is escaped, so that
# it comes through whatever the encoding of the stream.
_encode = json.JSONEncoder().encode


class Painter:
    """Makes lines of text, with colours or without."""

    def __init__(self, *, color: bool) -> None:
        self._color = color

    def __call__(self, *parts: str | tuple[str, str]) -> Shown:
        """Make one line; a part that is to be coloured comes with its code before it."""
        return Shown("".join(map(self._paint, parts)))

    def _paint(self, part: str | tuple[str, str]) -> str:
        if isinstance(part, str):
            return plain(part)
        code, text = part[0], plain(part[1])
        return f"\x1b[{code}m{text}\x1b[0m" if self._color and text else text


line = Painter(color=False)


def join(lines: Iterable[Shown]) -> Shown:
    """Put lines below one another."""
    return Shown("\n".join(lines))


def cut(shown: Shown, width: int) -> Shown:
    """Cut a line without colours to so many columns."""
    if shown.isascii():
        return Shown(shown[:width])
    columns = 0
    for end, char in enumerate(shown):
        columns += 2 if east_asian_width(char) in "WF" else 1
        if columns > width:
            return Shown(shown[:end])
    return shown


def table(rows: Sequence[Mapping[str, object]]) -> Shown:
    """Make a table of rows that have the same keys, which stand above."""
    from tabulate import tabulate

    cells = [{name: plain(str(value)) for name, value in row.items()} for row in rows]
    return Shown(tabulate(cells, headers="keys", disable_numparse=True))


def json_line(record: Mapping[str, Any]) -> Shown:
    """Write an object in one line of ASCII; what does not print is escaped as in text."""
    text = _encode(record)
    # Most have nothing to escape. JSON would leave DEL as it is, and a surrogate no UTF-8.
    if "\\" in text or "\x7f" in text:
        text = _encode(_plain_values(record))
    return Shown(text)


def json_lines(records: Iterable[Mapping[str, Any]]) -> Shown:
    """Write objects, one a line."""
    return join(map(json_line, records))


def with_first(shown: Shown, name: str, value: str) -> Shown:
    """Put a value that is known only now before those of an object that was made ready."""
    first = _encode({name: plain(value)})
    return Shown(f"{first[:-1]}, {shown[1:]}")


def after(text: str, shown: Shown) -> Shown:
    """Put text that is known only now before what was made ready."""
    return Shown(plain(text) + shown)


def put(stream: TextIO, *shown: Shown) -> None:
    """Print, for whoever reads it now."""
    add(stream, *shown)
    stream.flush()


def add(stream: TextIO, *shown: Shown) -> None:
    """Print, and leave it to the caller to hand it over."""
    stream.write("".join(f"{text}\n" for text in shown))


def take_back(stream: TextIO, count: int) -> None:
    """Erase so many lines that were printed last on a terminal."""
    # The carriage return passes over the ^C that the terminal has echoed.
    stream.write(f"\r\x1b[{count}A\x1b[J")


def _plain_values(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {name: _plain_values(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_values(item) for item in value]
    return value
