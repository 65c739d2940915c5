# SPDX-License-Identifier: GPL-2.0-only
"""Mutate modules, and compare what survives the unit tests with what is known to.

Usage: python -m tests.mutants [PATH...] (script/mutate --help says more)
"""

import argparse
import json
import sys
import time
import tomllib
from collections import Counter
from itertools import count
from pathlib import Path

from tests.mutants.operators import mutants
from tests.mutants.trial import SURVIVED, run

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("survivors.txt")
LAST = ROOT / ".cache" / "survivors.json"  # of the last run, for --again


def known(text):
    """Return the reasons of survivors that are listed, by module, old and new lines."""
    found = {}
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if not lines:
            continue
        path, *rest = lines
        old = tuple(line[2:] for line in rest if line.startswith("- "))
        new = tuple(line[2:] for line in rest if line.startswith("+ "))
        reason = " ".join(line.strip() for line in rest if line.startswith("  "))
        if not reason:
            raise ValueError(f"{LIST.name}: no reason: {block}")
        found[path, old, new] = reason
    return found


def shown(key):
    """Return a mutant as the list has it, without a reason."""
    path, old, new = key
    return "\n".join([path, *(f"- {line}" for line in old), *(f"+ {line}" for line in new)])


def modules(paths):
    """Return the modules that are meant by folders and files."""
    files = [
        found for p in paths for found in (sorted(p.rglob("*.py")) if p.is_dir() else [p.resolve()])
    ]
    return [str(file.resolve().relative_to(ROOT)) for file in files]


def main(arguments):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutate"]
    parser = argparse.ArgumentParser(prog="script/mutate")
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="folders or modules")
    parser.add_argument("--again", action="store_true", help="only what survived the last time")
    parser.add_argument("--one-in", type=int, default=1, metavar="N", help="every N-th mutant")
    given = parser.parse_args(arguments)
    paths = modules(given.paths or [Path(folder) for folder in settings["modules"]])
    listed, left = known(LIST.read_text()), []
    last = (
        {(p, tuple(o), tuple(n)) for p, o, n in json.loads(LAST.read_text())}
        if (given.again)
        else None
    )
    total, number = Counter(), count()

    def report(trials, paths):
        for path in paths:
            counts, started = Counter(), time.monotonic()
            for mutant in mutants(path):
                if last is not None and mutant.key not in last:
                    continue
                if next(number) % given.one_in:
                    continue
                outcome = trials.try_out(mutant)
                counts[outcome] += 1
                if outcome == SURVIVED:
                    left.append(mutant.key)
                    if mutant.key not in listed:
                        print(f"\n{shown(mutant.key)}\n  line {mutant.line}", flush=True)
            total.update(counts)
            print(
                f"{path}: {sum(counts.values())} mutants, {dict(counts)}, "
                f"{time.monotonic() - started:.0f} s",
                flush=True,
            )

    tests = [
        str(p.relative_to(ROOT))
        for p in sorted((ROOT / "tests/unit").glob("test_*.py"))
        if p.name not in settings["leave-out"]
    ]
    tables = settings["tables"]
    run(paths, [*tests, *(file for file in tables if file not in tests)], tables, report)
    whole = last is None and given.one_in == 1
    if whole:
        LAST.parent.mkdir(exist_ok=True)
        LAST.write_text(json.dumps(left))
    unknown = [key for key in left if key not in listed]
    stale = [key for key in listed if key[0] in paths and key not in left] if whole else []
    for key in stale:
        print(f"\nlisted, but does not survive:\n{shown(key)}")
    print(
        f"{sum(total.values())} mutants, {total[SURVIVED]} survived, of these "
        f"{len(unknown)} without a reason in {LIST.relative_to(ROOT)}"
    )
    return 1 if unknown or stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
