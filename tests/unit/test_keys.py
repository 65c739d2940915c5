# SPDX-License-Identifier: GPL-2.0-only
import pytest

from gretrace.wire.keys import parse_key, show_key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("0", 0),
        ("1", 1),
        ("4294967295", 0xFFFFFFFF),
        ("0x10", 16),
        ("0XfF", 255),
        ("010", 8),  # as strtoul() with base 0, so as `ip`
        ("0.0.0.2", 2),
        ("192.168.0.1", 0xC0A80001),
        ("10.1", 0x0A010000),  # measured: `ip link add ... key 10.1` sets 10.1.0.0
        ("0x0a.0.0.1", 0x0A000001),
    ],
)
def test_every_spelling_of_iproute2_is_read(text, key):
    assert parse_key(text) == key


@pytest.mark.parametrize(
    "text",
    ["", "x", "12x", "-1", "+1", " 1", "1_0", "08", "4294967296", "1.2.3.4.5", "256.0.0.1", "1..2"],
)
def test_anything_else_is_refused_in_a_sentence(text):
    with pytest.raises(ValueError, match="is no GRE key"):
        parse_key(text)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (None, "no key"),
        (0, "key 0"),
        (65535, "key 65535"),
        (0xC0A80001, "key 3232235521 (192.168.0.1)"),
    ],
)
def test_no_key_and_key_0_are_told_apart(key, words):
    assert show_key(key) == words


def test_other_names():
    assert show_key(None, "okey") == "no okey"
    assert show_key(3, "ikey") == "ikey 3"
