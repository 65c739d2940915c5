# SPDX-License-Identifier: GPL-2.0-only
"""Each output shows all that commands have to show; a new one is a class and a row."""

import inspect
import io
import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from gretrace.checks import State
from gretrace.checks.registry import Check
from gretrace.cli.options import open_output
from gretrace.kernel.lookup import Query
from gretrace.lookups.predict import predict_elsewhere
from gretrace.model import ETH_P_IP, Keepalive
from gretrace.render.listing import Listed
from gretrace.render.outputs import OUTPUTS, Output
from tests.unit.cases import A, B, tunnel

LISTED = [Listed(tunnel(key=5), {"rx_packets": 3}, None)]
ASKED = Query(ip_address(A), ip_address(B), 5, ETH_P_IP)
ANSWER = predict_elsewhere([tunnel(key=5)], ASKED, None)
SHOWN = {
    "answer": (lambda output: output.answer(ANSWER, walks=False), "gre1"),
    "checks": (lambda output: output.checks([Check("GRE", State.OK, "is there")]), "is there"),
    "tunnels": (lambda output: output.tunnels(LISTED, 0), "gre1"),
    "responders": (lambda output: output.responders(LISTED), "gre1"),
    "keepalives": (
        lambda output: output.keepalives(headers=False)(
            Keepalive("gre1", 1, "answered", b"", None)
        ),
        "answered",
    ),
}


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("what", SHOWN)
def test_what_is_shown(kind, what):
    stream = io.StringIO()
    show, expected = SHOWN[what]
    show(OUTPUTS[kind](stream))
    assert expected in stream.getvalue()
    if kind == "json":
        assert all(json.loads(line) for line in stream.getvalue().splitlines())
    else:
        assert "{" not in stream.getvalue()


def test_steps_and_bytes_are_shown_where_they_are_asked_for():
    for walks in (False, True):
        stream = io.StringIO()
        OUTPUTS["table"](stream).answer(ANSWER, walks=walks)
        assert ("bucket" in stream.getvalue()) == walks
    for kind in OUTPUTS:
        stream = io.StringIO()
        OUTPUTS[kind](stream).keepalives(headers=True)(Keepalive("gre1", 1, "x", b"\xab\xcd", None))
        assert "abcd" in stream.getvalue()


@pytest.mark.parametrize(("color", "is_colored"), [("always", True), ("never", False)])
def test_colours_are_for_who_asked(color, is_colored):
    stream = io.StringIO()
    open_output("table", color, stream).checks([Check("GRE", State.OK, "is there")])
    assert ("\x1b" in stream.getvalue()) == is_colored


def test_no_command_asks_which_output_it_has():
    root = Path(inspect.getfile(Output)).parents[1]
    for path in (root / "cli").glob("*.py"):
        assert '"json"' not in path.read_text(), path
