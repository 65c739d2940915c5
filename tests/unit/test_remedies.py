# SPDX-License-Identifier: GPL-2.0-only
"""What helps is named by the command line alone."""

import ast
import re
from pathlib import Path

import gretrace
from gretrace.cli.remedies import OPTIONS, with_options
from gretrace.errors import PrerequisiteError, Remark, Remedy

SOURCES = Path(gretrace.__file__).parent
ENGINE = ("engine", "explain", "lookups", "keepalive", "kernel", "verdicts", "capture", "render")


def test_each_remedy_has_options():
    assert set(OPTIONS) == set(Remedy)


def test_a_remedy_is_said_with_its_options():
    for remedy, options in OPTIONS.items():
        for said in (Remark("it is so", remedy), PrerequisiteError("it is so", remedy)):
            assert with_options(said) == f"it is so; {options}"
            assert "--" not in str(said)
    among_others = f"it needs BTF; {Remedy.MORE_WORDS}"
    assert with_options(PrerequisiteError("so", among_others)) == (
        "so; it needs BTF; -v shows all that was said"
    )
    assert with_options(PrerequisiteError("it is so", "do that")) == "it is so; do that"
    assert with_options("it is so") == "it is so"


def test_no_sentence_below_the_command_line_names_an_option():
    options = re.compile(r"--(remote|local|key|capacity|hook|force|tunnels)\b|(^| )-[vo] ")
    for folder in ENGINE:
        for path in (SOURCES / folder).rglob("*.py"):
            told = [
                n.value
                for n in ast.walk(ast.parse(path.read_text()))
                if isinstance(n, ast.Constant)
            ]
            sentences = [s for s in told if isinstance(s, str) and " " in s and "`" not in s]
            assert not [s for s in sentences if options.search(s)], path
