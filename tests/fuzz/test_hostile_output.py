# SPDX-License-Identifier: GPL-2.0-only
"""Names of strangers in all that is printed: not a character of theirs acts, or makes a line."""

import io
import json
import os
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace

from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from gretrace.checks.registry import Check, State
from gretrace.cli import run
from gretrace.cli.commands import COMMANDS, load_all
from gretrace.commands import HERE, ip_link
from gretrace.explain.tally import tuple_of
from gretrace.kernel.lookup import Query, Tables
from gretrace.lookups.predict import predict_elsewhere
from gretrace.model import Keepalive, Report, Responder, Total
from gretrace.render import checks as shown_checks
from gretrace.render.listing import (
    Listed,
    responder_lines,
    responder_table,
    to_lines,
    tunnel_table,
)
from gretrace.render.lookup import JsonLookups, TextLookups, explanation
from gretrace.render.outputs import OUTPUTS
from gretrace.render.record import JsonReports
from gretrace.render.text import TextReports
from gretrace.verdicts import explain
from tests.fuzz.test_hostile_names import ANY, CASES, HOSTILE, NAMES, NASTY, TOKENS, rename
from tests.unit.cases import NETNS, A, B, tunnel

NAME = NASTY | ANY
# Commands, their options, and what these can be set to.
OPTIONS = [option for command in load_all() for option in command.params]
TAKEN = {
    *("", "h", "help", "version", *COMMANDS),
    *(word.strip("-") for option in OPTIONS for word in (*option.opts, *option.secondary_opts)),
    *(choice for option in OPTIONS for choice in getattr(option.type, "choices", ())),
}
# What may act: our own colours, and the way back over the counts that grow.
OURS = re.compile(r"\x1b\[[\d;]+m|\r\x1b\[\d+A\x1b\[J")


def check_text(text, like):
    """Hold what was printed against the same with names that are none of a stranger's."""
    bare = OURS.sub("", text)
    assert not [char for char in bare if char != "\n" and not char.isprintable()]
    assert bare.encode()
    # A command has a line of its own, in green.
    refused = 0 if bare.startswith("{") else bare.count(" No command: ")
    assert bare.count("\n") + refused == like.count("\n")
    colours = 2 * refused if "\x1b[" in text else 0
    assert len(OURS.findall(text)) + colours == len(OURS.findall(like))


def check_json(text, like):
    """The same of objects, one a line."""
    assert text.isascii()
    check_text(text, like)
    for line, plainly in zip(text.splitlines(), like.splitlines(), strict=True):
        assert json.loads(line).keys() == json.loads(plainly).keys()


def reports(names):
    for plain_case in CASES:
        case = rename(plain_case, dict(zip(NAMES, names, strict=True)))
        drop = case.drop
        seen = tuple_of(drop, case.tables or Tables())
        yield Report(explain(case), drop, case.iif, names[0], seen, 1, drop.first_ns, drop.last_ns)


def explained(make, names):
    stream = io.StringIO()
    output = make(stream)
    totals = []
    for number, report in enumerate(reports(names)):
        output.show(number, report)
        tunnel_name = report.verdict.finding.tunnel
        values = (tunnel_name, NETNS, report.iif, names[1], report.tuple, 1)
        totals.append(Total(report.verdict.cause, *values))
    output.finish(totals, {})
    output.finish([], dict.fromkeys(names, 1))
    return stream.getvalue()


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(HOSTILE)
def test_reports(names):
    for make in (
        lambda stream: TextReports(stream, color=False, width=None),
        lambda stream: TextReports(stream, color=True, width=40),
    ):
        check_text(explained(make, names), explained(make, TOKENS))
    check_json(explained(JsonReports, names), explained(JsonReports, TOKENS))


def looked_up(make, name, walks=True):
    stream = io.StringIO()
    output = make(stream)
    ours = [
        tunnel(name, key=1, link=3, link_name=name),
        tunnel(f"{name}x", key=1, up=False),
        tunnel(f"{name}y", local=None, remote=None, fallback=True, ifindex=12),
    ]
    parts = []
    for key in (1, 2, None):
        query = Query(*(t for t in (ours[0].remote, ours[0].local)), key, 0x0800)
        for tunnels in (ours, ours[1:], ours[:2], []):
            answer = replace(
                predict_elsewhere(tunnels, query, None), iif=name, disagreement=name, namespace=name
            )
            output.show(10**9, output.prepare(answer))
            output.finish([(answer, 1), (replace(answer, netns=7), 2)])
            parts.append(explanation(answer, color=walks, walks=True))
    return stream.getvalue(), "\n".join(parts)


@settings(max_examples=100, deadline=None)
@given(NAME)
def test_lookups(name):
    for color in (True, False):
        make = lambda stream: TextLookups(stream, color=color, walks=True)  # noqa: E731, B023
        for text, like in zip(looked_up(make, name), looked_up(make, "plain"), strict=True):
            check_text(text, like)
    check_json(looked_up(JsonLookups, name)[0], looked_up(JsonLookups, "plain")[0])


def listed(name):
    responder = Responder("tc", 7, 1, {"foreign": 2}, 10**9)
    ours = tunnel(name, link=3, link_name=name)
    listing = [Listed(ours, {"rx_packets": 1}, responder, f"for {name}"), Listed(ours, {}, None)]
    made = [
        Check(name, State.WARNING, f"{name} is down", ip_link(HERE, "set", name, "up")),
        Check(name, State.MISSING, name, f"see {name}"),
    ]
    texts = [
        tunnel_table(listing, 2 * 10**9),
        responder_table(listing),
        shown_checks.to_text(made, color=True),
    ]
    objects = [to_lines(listing), responder_lines(listing), shown_checks.to_lines(made)]
    for kind, into in (("table", texts), ("json", objects)):
        stream = io.StringIO()
        OUTPUTS[kind](stream).keepalives(headers=True)(
            Keepalive(name, 10**9, "answered", b"\x1b]0;\x07", None)
        )
        into.append(stream.getvalue().rstrip("\n"))
    return texts, objects


@settings(max_examples=200, deadline=None)
@given(NAME)
def test_listings(name):
    (texts, objects), (like_texts, like_objects) = listed(name), listed("plain")
    for text, like in zip(texts, like_texts, strict=True):
        check_text(text, like)
    for text, like in zip(objects, like_objects, strict=True):
        check_json(text, like)


# Every place where a command repeats what it was given.
REFUSED = [
    lambda name: [name],
    lambda name: [f"--{name}"],
    lambda name: ["explain-drop", f"--{name}"],
    lambda name: ["explain-drop", "--read", f"./{name}"],
    lambda name: ["explain-drop", "--read", "/dev/null", "--tunnels", f"./{name}"],
    lambda name: ["explain-drop", f"--key={name}"],
    lambda name: ["explain-drop", f"--remote={name}"],
    lambda name: ["explain-drop", f"--output={name}"],
    lambda name: ["explain-drop", "--", name],
    lambda name: ["explain-drop", "--read", "/dev/null", f"--netns=/nowhere/{name}"],
    lambda name: ["lookup", A, B, f"--proto={name}"],
    lambda name: ["lookup", A, B, f"--netns=/nowhere/{name}"],
    lambda name: ["lookup", A, B, f"--iif={name}"],
    lambda name: ["lookup", "--", name, B],
    lambda name: ["respond", f"--hook={name}", "gre1"],
    lambda name: ["respond", f"--netns=/nowhere/{name}", "gre1"],
    lambda name: ["check", f"--netns=/nowhere/{name}"],
    lambda name: ["tunnels", f"--color={name}"],
]


@settings(max_examples=100, deadline=None)
@given(name=NAME, make=st.sampled_from(REFUSED))
def test_errors(name, make):
    # What comes from a command line was bytes; and some names are what a command takes, and
    # would have it watch without end.
    assume(not re.search("[\ud800-\udbff]", name) and name.strip("-") not in TAKEN)
    told = io.StringIO()
    with redirect_stderr(told), redirect_stdout(io.StringIO()) as shown:
        code = run(make(name))
    text = told.getvalue()
    assert code in (1, 2, 4), (code, text, shown.getvalue())
    assert text.startswith("gretrace: ")
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert text[:-1].isprintable()


def test_a_stream_that_cannot_write_a_character_writes_its_escape(monkeypatch):
    data = io.BytesIO()
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(data, encoding="ascii", write_through=True))
    assert run(["explain-drop", "--read", "/nowhere/Zoë"]) == 2
    assert b"/nowhere/Zo\\xeb" in data.getvalue()
    assert os.linesep.encode() in data.getvalue()
