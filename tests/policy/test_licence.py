# SPDX-License-Identifier: GPL-2.0-only
"""Every source says its licence at its top, as the kernel's do."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (
    "src/gretrace",
    "bpf",
    "tests",
    "bench",
    "examples",
    "script",
    "launch",
    "man",
    "prometheus",
)
SOURCES = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".c", ".h", ".sh") or path.parent.name in ("script", "launch")
    if path.is_file() and "objects" not in path.parts  # built
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_names_its_licence(path):
    assert "SPDX-License-Identifier: GPL-2.0-only" in path.read_text()[:200]
