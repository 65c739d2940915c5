# SPDX-License-Identifier: GPL-2.0-only
"""What is printed leaves by one door, so that there is one place that makes it plain."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "gretrace"
DOOR = Path("render/door.py")
# Writes its own words into docs/causes.md.
PAGES = Path("verdicts/table.py")
PRINTING = {"write", "writelines", "echo", "secho", "print", "print_exc", "Shown"}

MODULES = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]


def calls(path):
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Call):
            called = node.func
            yield called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_nothing_is_printed_past_the_door(path):
    if path not in (DOOR, PAGES):
        assert not PRINTING.intersection(calls(path))


def test_the_door_is_where_it_is_looked_for():
    assert PRINTING.intersection(calls(DOOR)) == {"write", "Shown"}
