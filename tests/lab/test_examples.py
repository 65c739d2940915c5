# SPDX-License-Identifier: GPL-2.0-only
"""Every example does what its text promises; each of them checks that itself."""

import subprocess
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.sh"))

# All variants of it are in test_encap.py, which is quicker.
ARGUMENTS = {"encap": ("xdp", "4", "off")}


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if path.stem != "lab"], ids=lambda path: path.stem
)
def test_example(path):
    command = [path, *ARGUMENTS.get(path.stem, ())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    left = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True)
    assert "gt-" not in left.stdout
