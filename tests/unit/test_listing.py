# SPDX-License-Identifier: GPL-2.0-only
import json
from ipaddress import ip_address

import pytest

from gretrace.model import Responder, Tunnel
from gretrace.render.listing import Listed, show_age, to_lines, to_record, tunnel_table

SECOND = 10**9
NOW = 1_800_000_000 * SECOND


def listed(last=None, refused=None, counters=None):
    ours = Tunnel("gre1", 10, 1, "gre", ip_address("20.1.1.1"), ip_address("20.1.1.2"), 1, 1)
    answered = 3 if last else 0
    return Listed(ours, counters or {}, Responder("tc", 9, answered, refused or {}, last))


AGES = {
    -5: "0 s", 0: "0 s", 0.9: "0 s", 3: "3 s", 119: "119 s", 120: "2 min", 7199: "119 min",
    7200: "2 h", 172799: "47 h", 172800: "2 d", 8640000: "100 d",
}  # fmt: skip


@pytest.mark.parametrize(("seconds", "words"), AGES.items())
def test_an_age_has_the_unit_that_fits(seconds, words):
    assert show_age(int(seconds * SECOND)) == words


def test_the_table_says_how_long_ago_the_last_keepalive_was_answered():
    line = tunnel_table([listed(last=NOW - 3 * SECOND)], NOW).splitlines()[-1]
    assert line.endswith("tc, 3 answered, last answered 3 s ago")
    line = tunnel_table([listed(last=NOW - 300 * SECOND, refused={"foreign": 2})], NOW)
    assert line.endswith("tc, 3 answered, 2 refused, last answered 5 min ago")


def test_what_never_was_has_no_age():
    assert tunnel_table([listed()], NOW).endswith("tc, 0 answered")
    assert to_record(listed())["responder"]["last_answered"] is None
    assert tunnel_table([], NOW) == "No GRE tunnel."


def test_json_keeps_the_time_itself():
    (line,) = to_lines([listed(last=NOW)]).splitlines()
    assert json.loads(line)["responder"] == {
        "hook": "tc",
        "program_id": 9,
        "answered": 3,
        "refused": {},
        "last_answered": "2027-01-15T08:00:00.000000Z",
    }
