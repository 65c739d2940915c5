# SPDX-License-Identifier: GPL-2.0-only
"""Netlink's framing, whole and damaged."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gretrace.host import framing
from gretrace.host.framing import attributes_in, entries_in, messages


def attribute(kind, value, length=None):
    head = struct.pack("=HH", 4 + len(value) if length is None else length, kind)
    return head + value + bytes(-len(value) % 4)


def message(kind, body, length=None):
    size = 16 + len(body) if length is None else length
    return struct.pack("=IHHII", size, kind, 2, 3, 0) + body + bytes(-len(body) % 4)


def test_what_is_whole():
    data = attribute(1, b"abc") + attribute(0x8002, b"") + attribute(3, b"12345")
    assert attributes_in(data) == {1: b"abc", 2: b"", 3: b"12345"}
    assert attributes_in(b"head" + data, 4) == attributes_in(data)
    assert list(entries_in(data)) == [(1, b"abc"), (2, b""), (3, b"12345")]
    assert framing.attribute(1, b"abc") == attribute(1, b"abc")
    assert list(messages(message(16, b"x" * 5) + message(3, b""))) == [
        (16, 2, 3, b"x" * 5),
        (3, 2, 3, b""),
    ]


@pytest.mark.parametrize("length", [0, 1, 3, 100])
def test_an_attribute_that_cannot_be_so_long_is_the_end(length):
    data = attribute(1, b"abcd") + attribute(2, b"efgh", length) + attribute(3, b"ijkl")
    assert attributes_in(data) == {1: b"abcd"}
    assert list(entries_in(data)) == [(1, b"abcd")]


def test_a_list_has_many_of_one_type():
    data = attribute(1, b"abc") + attribute(1, b"") + attribute(2, b"d")
    assert list(entries_in(b"head" + data, 4)) == [(1, b"abc"), (1, b""), (2, b"d")]


def test_a_number_is_of_this_machine():
    assert framing.number_in(framing.to_number(0x01020304)) == 0x01020304
    assert framing.to_number(1) == struct.pack("=I", 1)
    assert framing.number_in(b"") == 0


@pytest.mark.parametrize("length", [0, 15, 100])
def test_a_message_that_cannot_be_so_long_is_the_end(length):
    data = message(1, b"abcd") + message(2, b"efgh", length) + message(3, b"")
    assert [kind for kind, *_ in messages(data)] == [1]


@given(st.binary(max_size=200))
def test_whatever_comes_there_is_an_end(data):
    assert all(len(value) <= len(data) for value in attributes_in(data).values())
    assert dict(entries_in(data)) == attributes_in(data)
    assert sum(16 + len(body) for *_, body in messages(data)) <= len(data)
