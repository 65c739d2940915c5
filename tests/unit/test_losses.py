# SPDX-License-Identifier: GPL-2.0-only
"""What was lost is told when it begins, then with its growth once a minute, and at the end."""

import pytest

from gretrace.engine import Lost, Unkept
from gretrace.explain.losses import PAUSE, PLACES_AT_MOST, Losses

GRE_RCV = b"gre_rcv+0x1/0x2 [ip_gre]"


def unkept(packets, place=GRE_RCV):
    return Unkept(place, 2, packets)


@pytest.fixture
def told():
    return []


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def losses(told, clock):
    return Losses(told.append, lambda: {2: "NOT_SPECIFIED"}, lambda: clock[0])


def test_growth_is_told_once_a_minute_and_at_the_end(losses, told, clock):
    for second in range(int(PAUSE)):
        clock[0] = float(second)
        losses.note(Lost((unkept(1000 * (second + 1)),)))
    assert len(told) == 1
    assert told[0].startswith("1000 dropped packets were counted but not kept apart")
    clock[0] = PAUSE
    losses.note(Lost((unkept(70_000),)))
    assert len(told) == 2
    assert told[1].startswith("69000 more dropped packets, 70000 in all, were counted")
    losses.note(Lost((unkept(70_001),)))
    assert len(told) == 2
    losses.note(Lost((unkept(70_001),)), is_last=True)
    assert told[2].startswith("1 more dropped packets, 70001 in all,")


def test_nothing_is_told_where_nothing_grew(losses, told):
    losses.note(Lost())
    losses.note(Lost((unkept(3),)))
    losses.note(Lost((unkept(3),)), is_last=True)
    assert len(told) == 1


def test_only_places_that_grew_are_named_and_of_many_the_first(losses, told, clock):
    places = [unkept(100 - n, f"place_{n}+0x1/0x2".encode()) for n in range(10)]
    losses.note(Lost(tuple(places)))
    assert told[0].count("place_") == PLACES_AT_MOST
    assert "100 in place_0, NOT_SPECIFIED" in told[0]
    assert f"{sum(100 - n for n in range(PLACES_AT_MOST, 10))} elsewhere" in told[0]
    clock[0] = PAUSE
    losses.note(Lost((unkept(101, places[0].place), *places[1:])))
    assert "(1 in place_0, NOT_SPECIFIED)" in told[1]


def test_a_place_that_nothing_names_has_words_too(losses, told):
    losses.note(Lost((Unkept(b"", None, 5),), nameless=True))
    assert "CAP_SYSLOG" in told[0]
    assert "(5 in a nameless place)" in told[1]


def test_interrupted_probes_are_told(losses, told):
    losses.note(Lost(missed=3))
    (sentence,) = told
    assert sentence.startswith("3 dropped packets may have gone unseen")
