# SPDX-License-Identifier: GPL-2.0-only
"""What leaves: lines that act on no terminal, and JSON that every reader takes."""

import io
import json

import pytest

from gretrace.render.door import (
    GREEN,
    Painter,
    after,
    cut,
    join,
    json_line,
    json_lines,
    line,
    put,
    table,
    take_back,
    with_first,
)

TITLE = "\x1b]0;mine\x07"
FORGED = "gre1\nDROP tunnel-down gre2\n  here    run this"
BYTE = b"\xff".decode(errors="surrogateescape")


def test_only_our_own_colours_reach_a_terminal():
    shown = Painter(color=True)((GREEN, f"a{TITLE}"), " b\x1b[31m")
    assert shown == "\x1b[32ma\\x1b]0;mine\\x07\x1b[0m b\\x1b[31m"
    assert Painter(color=False)((GREEN, "a"), " b") == "a b"
    assert Painter(color=True)((GREEN, ""), "b") == "b"


def test_a_line_is_one_line():
    assert line(FORGED).splitlines() == [line(FORGED)]
    assert join([line("a"), line(FORGED)]).count("\n") == 1


def test_a_table_has_a_line_for_each_row():
    shown = table([{"tunnel": FORGED, "key": 1}, {"tunnel": TITLE, "key": None}])
    assert len(shown.splitlines()) == 4
    assert shown.replace("\n", "").isprintable()


@pytest.mark.parametrize("name", [FORGED, TITLE, BYTE, "\ud800", "\x7f\x9b31m", "\u2028\u202e"])
def test_json_is_one_line_of_utf_8_and_safe_to_be_printed(name):
    shown = json_line({"tunnel": name, "fix": [{"note": f"see {name}"}], "key": None})
    assert shown.isprintable()
    shown.encode()
    record = json.loads(shown)
    assert record == {"tunnel": line(name), "fix": [{"note": f"see {line(name)}"}], "key": None}
    # As `jq -r` would have it.
    assert record["tunnel"].isprintable()


def test_what_prints_comes_through_json_unchanged():
    values = {"name": "Zoë 東京", "quote": 'iifname "gre1"', "path": "a\\x1b"}
    assert json.loads(json_line(values)) == values
    assert json_lines([values, values]).splitlines() == [json_line(values)] * 2


def test_what_is_known_late_goes_before_what_is_ready():
    assert with_first(json_line({"a": 1}), "time", "now") == '{"time": "now", "a": 1}'
    assert after("now ", line("a")) == "now a"


def test_a_line_is_cut_to_columns():
    assert cut(line("abcdef"), 4) == "abcd"
    assert cut(line("東京tokyo"), 5) == "東京t"
    assert cut(line("東京"), 3) == "東"
    assert cut(line("ab"), 5) == "ab"


def test_it_is_handed_over_at_once():
    class Stream(io.StringIO):
        handed = 0

        def flush(self):
            self.handed += 1

    stream = Stream()
    put(stream, line("a"), line("b"))
    assert (stream.getvalue(), stream.handed) == ("a\nb\n", 1)
    take_back(stream, 2)
    assert stream.getvalue().endswith("\r\x1b[2A\x1b[J")
