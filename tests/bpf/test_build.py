# SPDX-License-Identifier: GPL-2.0-only
"""The objects are the same wherever they are built."""

import hashlib
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "bpf"


def build(directory):
    shutil.copytree(SOURCES, directory / "bpf")
    made = directory / "objects"
    subprocess.run(
        ["make", "-s", "-C", directory / "bpf", f"OBJECTS={made}"], check=True, capture_output=True
    )
    return {
        str(path.relative_to(made)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in made.rglob("*")
        if path.is_file()
    }


def test_two_directories_build_the_same_objects(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "another" / "place").mkdir(parents=True)
    one, other = build(tmp_path / "a"), build(tmp_path / "another" / "place")
    assert one == other
    assert {"drop.bpf.o", "lookup.bpf.o", "keepalive.bpf.o"} <= one.keys()
    for path in (tmp_path / "a" / "objects").glob("*.o"):
        assert str(tmp_path).encode() not in path.read_bytes()
