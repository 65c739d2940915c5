# SPDX-License-Identifier: GPL-2.0-only
"""Words become a command in one module, so that there is one place that quotes them."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "gretrace"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "commands.py")

# How commands begin that could be typed; a value that follows is a word of them.
PROGRAM = re.compile(
    r"(?<![\w-])(ip (-\w+ )*(link|route|addr|neigh|rule|netns|xfrm|-n)|sysctl -w|nft|nsenter"
    r"|modprobe|tc (filter|qdisc) (show|add|del)|ethtool -|ip6?tables(-legacy)? -"
    r"|gretrace (respond|lookup|tunnels))\b[^.;)]*$"
)


def formatted(tree):
    """Yield the text before each value that is put into a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = ""
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield node.lineno, text
                    text += "{}"
                elif isinstance(part, ast.Constant):
                    text += str(part.value)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_value_is_put_into_the_text_of_a_command(path):
    tree = ast.parse(path.read_text())
    found = [(line, text) for line, text in formatted(tree) if PROGRAM.search(text)]
    assert not found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_command_is_joined_or_cut_apart(path):
    text = path.read_text()
    assert "&&" not in text
    if "shlex" in text:
        # What iptables-save writes is read there.
        assert path.relative_to(PACKAGE) == Path("host/firewall/iptables.py")


def test_the_pattern_knows_what_it_is_to_find():
    for text in ("ip link set ", "see `ip -n ", "nft 'add rule ", "run gretrace respond "):
        assert PROGRAM.search(text), text
