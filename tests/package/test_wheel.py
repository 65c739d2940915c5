# SPDX-License-Identifier: GPL-2.0-only
"""The wheel and the sources: what is in them, and what they need."""

import shutil
import subprocess
import tarfile
import time
import zipfile

OBJECTS = {"drop", "encap", "keepalive", "lookup"}


def contents(path):
    with zipfile.ZipFile(path) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


def test_the_wheel_has_objects_pages_and_its_commit(built):
    with zipfile.ZipFile(built.wheel) as wheel:
        names = wheel.namelist()
        assert not wheel.read("gretrace/commit.txt").startswith(b"$")
        metadata = wheel.read(next(n for n in names if n.endswith("/METADATA"))).decode()
    found = {name.split("/")[-1].split(".")[0] for name in names if name.endswith(".bpf.o")}
    assert found >= OBJECTS
    assert any(name.endswith("share/man/man8/gretrace-lookup.8") for name in names)
    assert not any(name.startswith(("tests", "bench", "man/")) for name in names)
    assert "GPL-2.0-only" in metadata


def test_the_sources_hold_no_objects_and_build_the_same_wheel(built):
    with tarfile.open(built.sdist) as sources:
        names = {name.partition("/")[2] for name in sources.getnames()}
        sources.extractall(built.sdist.parent / "sources")  # noqa: S202 (it is ours)
    assert names >= {"bpf/Makefile", "tests/lab/conftest.py", "man/pages.py", "debian/control"}
    assert not any(name.endswith(".o") for name in names)
    built.root.shell(
        "cd /build/dist/sources/gretrace-* && python3 -m build -w --no-isolation -o /build/again"
    )
    again = built.root.path / "build/again" / built.wheel.name
    assert contents(again) == contents(built.wheel)


def test_without_a_compiler_the_build_fails_in_one_line(tree, tmp_path):
    for lacks in ("clang", "llvm-strip"):
        tools = tmp_path / lacks
        tools.mkdir()
        for tool in {"clang", "llvm-strip", "make"} - {lacks}:
            (tools / tool).symlink_to(shutil.which(tool))
        ran = subprocess.run(
            ["/usr/bin/python3", "setup.py", "-q", "build"],
            cwd=tree,
            env={"PATH": str(tools)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode != 0
        assert ran.stderr.splitlines()[-1].startswith(f"gretrace: {lacks} is missing, which builds")
        assert "Traceback" not in ran.stderr


def test_from_one_line_of_pipx_to_check_is_quick_and_small(built, bare):
    bare.install("libbpf1")
    before = bare.megabytes()
    bare.install("pipx")
    pipx = bare.megabytes() - before
    shutil.copy(built.wheel, bare.path / "root" / built.wheel.name)
    start = time.monotonic()
    bare.run("pipx", "install", f"/root/{built.wheel.name}")
    said = bare.run("/root/.local/bin/gretrace", "check", code=None)
    seconds = time.monotonic() - start
    grown = bare.megabytes() - before - pipx
    print(f"{seconds:.0f} s, {grown:.0f} MB beyond pipx, which is {pipx:.0f} MB")
    assert "libbpf 1." in said
    assert seconds < 60
    assert grown < 60
    assert "gretrace 0" in bare.run("/root/.local/bin/gretrace", "--version")


def test_uv_installs_it_too(built, bare):
    # After pipx: uv itself comes by it.
    bare.install("libbpf1", "pipx")
    bare.run("pipx", "install", "uv")
    shutil.copy(built.wheel, bare.path / "root" / built.wheel.name)
    environment = {"UV_TOOL_BIN_DIR": "/root/uv-bin", "UV_PYTHON_DOWNLOADS": "never"}
    bare.run("/root/.local/bin/uv", "tool", "install", f"/root/{built.wheel.name}", **environment)
    assert "gretrace 0" in bare.run("/root/uv-bin/gretrace", "--version")
    assert "libbpf 1." in bare.run("/root/uv-bin/gretrace", "check", code=None)
