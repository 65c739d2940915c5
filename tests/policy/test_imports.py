"""Imports point inward only: what judges knows nothing of what reads and what writes."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "gretrace"

# Each layer may import those that stand before it, and modules of its own.
LAYERS = [
    {"", "errors", "model", "contract", "keys"},
    {"lookup", "packet", "wanted"},
    {"verdicts", "decode", "render"},
    {
        "engine",
        "namespaces",
        "netlink",
        "iproute",
        "routes",
        "tunnels",
        "tunnels_file",
        "features",
        "live",
        "ipsec",
        "firewall",
        "capture",
    },
    {"responder"},
    {"probe"},
    {"predict", "surroundings", "tally", "replay"},
    {"explain", "reading", "follow", "respond", "checks"},
    {"cli"},
]
PURE = {"errors", "model", "contract", "keys", "lookup", "packet", "wanted", "verdicts", "decode",
        "render"}  # fmt: skip
# Where the outside world is let in, and only there.
DOORS = {
    "bcc": {"engine"},
    "dpkt": {"capture"},
    "pyroute2": {"iproute", "routes", "tunnels", "probe"},
    "click": {"cli"},
    "tabulate": {"render"},
    "ctypes": {"contract", "decode", "engine", "namespaces"},
    "socket": {"netlink", "live", "probe", "ipsec"},
    "subprocess": {"firewall"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def part(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0].replace("__init__", "")


def layer(name):
    return next((i for i, names in enumerate(LAYERS) if name in names), None)


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_inward(path):
    ours = part(path)
    assert layer(ours) is not None, f"{ours} has no layer yet"
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "gretrace":
            theirs = rest.partition(".")[0]
            known = layer(theirs)
            if known is not None:
                assert known < layer(ours) or theirs == ours or known == layer(ours), name
                assert not (ours in PURE and theirs not in PURE | {""}), name
        elif top in DOORS:
            assert ours in DOORS[top], f"{name} has another door"


def test_verdicts_and_rendering_do_not_know_each_other():
    for path in MODULES:
        for name in imports(path):
            if part(path) == "verdicts":
                assert not name.startswith("gretrace.render")
            if part(path) == "render":
                assert not name.startswith("gretrace.verdicts")


def test_modules_stay_small():
    for path in MODULES:
        assert len(path.read_text().splitlines()) <= 300, path
