# SPDX-License-Identifier: GPL-2.0-only
"""Functions of the kernel that free packets are named in the rows of its way, and nowhere else."""

import ast
from pathlib import Path

import pytest

from gretrace.kernel import receive, send, stack

PACKAGE = Path(__file__).parents[2] / "src" / "gretrace"
# The rows: the way itself, and the frees that are no fault.
ROWS = {
    PACKAGE / "kernel" / f"{name}.py"
    for name in ("receive", "stack", "switching", "send", "wireguard", "quiet")
}
WAYS = (*receive.WAYS.values(), *stack.WAYS.values(), send.WAY)
FUNCTIONS = {
    name.removesuffix("*")
    for way in WAYS
    for step in way.steps
    for free in step.frees
    for name in free.functions
}


def texts(path):
    """Every string of a module but its docstrings, with its line."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node.lineno, node.value


@pytest.mark.parametrize(
    "path",
    sorted(set(PACKAGE.rglob("*.py")) - ROWS),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_no_other_module_names_a_place(path):
    named = [(line, text) for line, text in texts(path) if text in FUNCTIONS]
    assert not named


def test_the_rows_are_looked_at():
    assert len(FUNCTIONS) > 30
    assert {text for path in ROWS for _, text in texts(path)} >= {"gre_rcv", "ip_tunnel_rcv"}


@pytest.mark.parametrize("way", WAYS)
def test_every_step_says_what_ends_a_packet(way):
    for step in way.steps:
        assert step.says.endswith("."), step
        assert step.frees, step


def test_no_step_is_on_a_way_twice():
    for way in WAYS:
        names = [step.name for step in way.steps]
        assert len(names) == len(set(names))
