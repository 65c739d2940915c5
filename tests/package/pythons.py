# SPDX-License-Identifier: GPL-2.0-only
"""`script/python-test`: the tests that need no kernel, by another Python than this machine's."""

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.package.roots import CACHE, PROJECT, Root, sources

# The release of Debian that has it; no release that is still served has 3.12.
DEBIAN = {"3.11": "12", "3.13": "13", "3.14": "sid"}
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
TESTS = ("tests/unit", "tests/contract")
TOOLS = ("pytest", "hypothesis", "prometheus_client")
# What builds the objects, and what the tests call.
PACKAGES = ("bpftool", "clang", "llvm", "make", "libbpf-dev", "iproute2", "python3-venv")
# In the folder of the sources; its words are the interpreter, and what pip installs.
STEPS = """
version=$("$0" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
echo "Python $version"
environment=$PWD/.cache/python
"$0" -m venv --clear "$environment"
"$environment/bin/pip" install -q --disable-pip-version-check -e . "$@"
make -s -C bpf
"$environment/bin/python" -m pytest -q -o cache_dir=.cache/pytest {tests}
""".format(tests=" ".join(TESTS))


def requirements():
    """Return what pip must install for the tests beside gretrace: no linters."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return [line for line in project["optional-dependencies"]["test"] if line.startswith(TOOLS)]


def interpreter(version):
    """Return the path of this machine's own, from PATH or pyenv, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    # Not by pyenv's shims, which are there for versions that are not chosen.
    found = [*pyenv.glob(f"versions/{version}.*/bin/python{version}")]
    return shutil.which(f"python{version}", path="/usr/local/bin:/usr/bin") or next(
        (str(path) for path in found), None
    )


def passes(version):
    """Run the tests by a version of Python, and say whether they passed."""
    folder = CACHE / f"python-{version}"
    shutil.rmtree(folder, ignore_errors=True)
    own = interpreter(version)
    try:
        if own:
            print(f"--- {version}: {own}", flush=True)
            sources(folder)
            line = ["bash", "-euc", STEPS, own, *requirements()]
            return subprocess.run(line, cwd=folder, check=False).returncode == 0
        if version not in DEBIAN:
            print(f"--- {version}: not on this machine, and Debian has none", flush=True)
            return False
        print(f"--- {version}: Debian {DEBIAN[version]}, in a bare system", flush=True)
        root = Root(DEBIAN[version], folder)
        root.install(*PACKAGES)
        sources(folder / "root/gretrace")
        name = f"/usr/bin/python{version}"
        words = ("bash", "-euc", f"cd /root/gretrace{STEPS}", name, *requirements())
        print(said := root.run(*words, code=None), flush=True)
        return " passed" in said and " failed" not in said and " error" not in said
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(
        prog="script/python-test", usage="script/python-test VERSION..."
    )
    parser.add_argument("versions", nargs="+", choices=VERSIONS, metavar="VERSION")
    results = {version: passes(version) for version in parser.parse_args().versions}
    for version, passed in results.items():
        print(f"{version}: {'ok' if passed else 'FAILED'}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
