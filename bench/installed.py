# SPDX-License-Identifier: GPL-2.0-only
"""What must be on disk for a tool to work, beyond what the smallest Debian has.

Sizes are those that dpkg states, and of Python distributions the files that pip wrote, in
megabytes (10^6 bytes); compiled Python is a cache and does not count.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

import gretrace
from bench.tools import PEERS, Tool

STATUS = "var/lib/dpkg/status"
KIB, MB = 1024, 1e6
# gretrace itself comes with its distributions.
OURS = ("python3", "libbpf1")


@dataclass(frozen=True)
class Package:
    """An installed Debian package, as dpkg's status file has it."""

    name: str
    size: float  # MB
    base: bool  # part of the smallest system that debootstrap makes
    needs: tuple[tuple[str, ...], ...]  # of each tuple, one
    provides: tuple[str, ...]


def packages(status: str) -> dict[str, Package]:
    """Return the installed packages of a status file, also under the names that they provide."""
    found = {}
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if not fields.get("Status", "").endswith(" installed"):
            continue
        name = fields["Package"]
        found[name] = Package(
            name, int(fields.get("Installed-Size", 0)) * KIB / MB,
            fields.get("Essential") == "yes" or fields.get("Priority") == "required",
            (*_names(fields.get("Pre-Depends")), *_names(fields.get("Depends"))),
            tuple(name for (name,) in _names(fields.get("Provides"))),
        )  # fmt: skip
    for package in list(found.values()):
        for name in package.provides:
            found.setdefault(name, package)
    return found


def _names(relations: str | None) -> list[tuple[str, ...]]:
    """Return the alternatives of each relation (deb-control, 7.1), without versions."""
    if not relations:
        return []
    return [
        tuple(re.split(r"[\s:(]", alternative.strip())[0] for alternative in relation.split("|"))
        for relation in relations.split(",")
    ]


def closure(known: dict[str, Package], wanted: list[str]) -> dict[str, float]:
    """Return the sizes of packages and all that they depend on, by their names."""
    sizes: dict[str, float] = {}
    todo = list(wanted)
    while todo:
        package = known[todo.pop()]
        if package.name not in sizes:
            sizes[package.name] = package.size
            for alternatives in package.needs:
                todo += [name for name in alternatives if name in known][:1]
    return sizes


def beyond_base(known: dict[str, Package], wanted: list[str]) -> dict[str, float]:
    """Return closure() without the base system and what that depends on."""
    base = closure(known, [package.name for package in known.values() if package.base])
    return {name: size for name, size in closure(known, wanted).items() if name not in base}


def distributions(name: str) -> dict[str, float]:
    """Return the sizes of a Python distribution and all that it requires, by their names."""
    sizes: dict[str, float] = {}
    todo = [name]
    while todo:
        found = distribution(todo.pop())
        if found.name not in sizes:
            sizes[found.name] = _written(_files(found))
            # What has a marker is for other systems, or an extra that nobody asked for.
            required = [line for line in found.requires or () if ";" not in line]
            todo += [re.split(r"[^\w.-]", line)[0] for line in required]
    # Where it is installed to be edited, its files are elsewhere.
    if name == "gretrace":
        sizes[name] = _written(Path(gretrace.__file__).parent.rglob("*"))
    return sizes


def _files(found: Distribution) -> Iterable[Path]:
    """Return the files of a distribution; Debian's packages do not list theirs."""
    if found.files is not None:
        yield from (Path(found.locate_file(file)) for file in found.files)
        return
    for name in (found.read_text("top_level.txt") or found.name).split():
        folder = Path(found.locate_file(name))
        yield from folder.rglob("*") if folder.is_dir() else [folder.with_suffix(".py")]


def _written(files: Iterable[Path]) -> float:
    """Return the size of files in MB, without Python's cache."""
    return sum(f.stat().st_size for f in files if f.is_file() and f.suffix != ".pyc") / MB


def installed(tool: Tool) -> dict[str, float]:
    """Return the sizes in MB of all that must be installed for a tool, by their names."""
    root = PEERS if tool.foreign else Path("/")
    known = packages((root / STATUS).read_text())
    if tool.foreign:
        return beyond_base(known, [tool.command[0], *tool.needs])
    return beyond_base(known, [*OURS, *tool.needs]) | distributions("gretrace")


def rows(tools: list[Tool]) -> list[dict[str, object]]:
    """Return what tools need as objects for JSON; a package that is missing is the error."""
    found = []
    for tool in tools:
        try:
            sizes = installed(tool)
        except (KeyError, FileNotFoundError) as missing:
            found.append({"tool": tool.name, "error": f"missing: {missing}"})
        else:
            found.append({"tool": tool.name, "megabytes": sum(sizes.values()), "of": sizes})
    return found
