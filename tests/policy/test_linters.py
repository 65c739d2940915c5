# SPDX-License-Identifier: GPL-2.0-only
"""The linters are tests like any other."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def scripts():
    """Every shell script, by its first line or its name."""
    folders = ("script", "launch", "examples", ".ci")
    files = [path for folder in folders for path in sorted((ROOT / folder).iterdir())]
    shells = (b"#!/bin/bash", b"#!/bin/sh")
    return [str(p) for p in files if p.suffix == ".sh" or p.read_bytes().startswith(shells)]


LINTERS = {
    "ruff check": [BIN / "ruff", "check", "."],
    "ruff format": [BIN / "ruff", "format", "--check", "."],
    "mypy": [BIN / "mypy"],
    "shellcheck": [BIN / "shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *scripts()],
}


@pytest.mark.parametrize("command", LINTERS.values(), ids=LINTERS.keys())
def test_linter(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
