# SPDX-License-Identifier: GPL-2.0-only
"""What is shown for text that would act on a terminal."""

import pytest

from gretrace.plain import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gre1", "gre1"),
        ("", ""),
        ("Zoë “tunnel”, 東京 🚇", "Zoë “tunnel”, 東京 🚇"),
        ("a\u00a0b\u3000c", "a\\u00a0b\\u3000c"),
        ("\\x1b", "\\x1b"),
        ("a\x1b]52;c;aGk=\x07b", "a\\x1b]52;c;aGk=\\x07b"),
        ("a\nb\r\tc\x7f\0", "a\\x0ab\\x0d\\x09c\\x7f\\x00"),
        ("\x9b31m\x85", "\\u009b31m\\u0085"),
        ("a\u202eb\u2066c\u200f\u061c", "a\\u202eb\\u2066c\\u200f\\u061c"),
        ("a\u2028b\u2029\ufeff", "a\\u2028b\\u2029\\ufeff"),
        (b"\xff\x80x".decode(errors="surrogateescape"), "\\xff\\x80x"),
        ("\ud800\udfff", "\\ud800\\udfff"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_only_what_acts_is_escaped(text, shown):
    assert plain(text) == shown
    assert plain(shown) == shown


def test_every_character_is_safe_then():
    shown = plain("".join(map(chr, range(0x110000))))
    assert shown.isprintable()
    assert len(shown.splitlines()) == 1
    assert shown.encode()
