# SPDX-License-Identifier: GPL-2.0-only
"""Imports point inward only: what judges knows nothing of what reads and what writes."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "gretrace"
LAB = Path(__file__).parents[1] / "lab"

# Each layer may import those that stand before it, and modules of its own.
LAYERS = [
    {"", "errors", "model", "commands", "plain"},
    {"wire"},
    {"kernel"},
    {"verdicts", "render"},
    {"engine", "host", "capture", "live"},
    {"keepalive"},
    {"explain", "lookups", "checks"},
    {"library", "service"},
    {"cli"},
]
# The package itself names, for type checkers, what it imports from there when it is asked for.
FACE = {"library", "errors", "model", "kernel"}
PURE = {"errors", "model", "commands", "plain", "wire", "kernel", "verdicts", "render"}
# Where the outside world is let in, and only there: a folder, or one module of it.
DOORS = {
    "bcc": {"engine"},
    "dpkt": {"capture"},
    "pyroute2": {"host.iproute", "host.routes", "host.rules", "host.tunnels", "keepalive.trial"},
    "click": {"cli"},
    "prometheus_client": {"service.metrics"},
    "tabulate": {"render"},
    "ctypes": {"engine", "host.namespaces", "host.privileges"},
    "socket": {
        "host.asking",
        "host.netlink",
        "host.ipsec",
        "live",
        "keepalive.trial",
        "service.http",
        "service.systemd",
    },
    "subprocess": {"host.firewall"},
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
            if not ours and theirs in FACE:
                continue
            if known is not None:
                assert known < layer(ours) or theirs == ours or known == layer(ours), name
                assert not (ours in PURE and theirs not in PURE | {""}), name
            elif theirs:
                assert theirs == "__version__", name
        elif top in DOORS:
            dotted = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            doors = DOORS[top]
            assert any(f"{dotted}.".startswith(f"{door}.") for door in doors), f"{name}: {doors}"


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


@pytest.mark.parametrize("path", sorted(LAB.glob("*.py")), ids=lambda path: path.stem)
def test_a_lab_finds_what_it_imports(path):
    """Nothing else does so before a kernel is booted for it."""
    import_module(f"tests.lab.{path.stem}")
