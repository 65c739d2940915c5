# SPDX-License-Identifier: GPL-2.0-only
"""What became of a suite, read from pytest's JUnit file, and the tables at the end."""

import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Outcome:
    """A suite that has ended."""

    suite: str
    kernel: str
    engine: str
    exit_code: int
    seconds: float  # all of it, boot and end included
    processor: float = 0  # seconds of processors that it took
    boot: float = 0
    collection: float = 0
    counts: dict[str, int] = field(default_factory=dict)  # passed, failed, skipped
    tests: dict[str, float] = field(default_factory=dict)  # seconds of each
    may_skip: bool = False

    @property
    def passed(self):
        """Whether it proves what it is there for.

        A suite that ran nothing, or that skipped in the lab, has failed whatever its exit code
        says.
        """
        ran = self.counts.get("passed", 0) > 0
        skipped = self.counts.get("skipped", 0) > 0 and not self.may_skip
        return self.exit_code == 0 and ran and not skipped and not self.counts.get("failed")

    @property
    def said(self):
        """The counts, as a person reads them."""
        if not any(self.counts.values()):
            return f"no result, exit code {self.exit_code}"
        counts = ", ".join(f"{n} {what}" for what, n in self.counts.items() if n)
        # 1 is pytest's "some tests failed".
        return counts if self.exit_code in {0, 1} else f"{counts}, exit code {self.exit_code}"

    @property
    def files(self):
        """Seconds of each file."""
        files = defaultdict(float)
        for name, seconds in self.tests.items():
            files[name.partition("::")[0]] += seconds
        return dict(files)


def read_results(path, started, ended):
    """Take an `Outcome`'s counts and times from a JUnit file, as keywords for it.

    `started` and `ended` are seconds of the epoch around the whole suite. A file that is missing
    or was not finished has no results.
    """
    more = {"seconds": ended - started}
    try:
        suite = ET.parse(path).getroot().find("testsuite")  # noqa: S314 - pytest wrote it
        began = datetime.fromisoformat(suite.get("timestamp"))
        counts, tests = {"passed": 0, "failed": 0, "skipped": 0}, {}
        for case in suite.iter("testcase"):
            module = case.get("classname", "").rpartition(".")[2]
            name = f"{module}.py::{case.get('name')}"
            kinds = {child.tag for child in case}
            what = "failed" if kinds & {"failure", "error"} else "passed"
            counts["skipped" if "skipped" in kinds else what] += 1
            tests[name] = tests.get(name, 0) + float(case.get("time"))
        whole = float(suite.get("time"))
    except (OSError, ET.ParseError, AttributeError, TypeError, ValueError):
        return more
    boot = max(began.timestamp() - started, 0)
    spent = sum(tests.values())
    return more | {
        "boot": boot, "collection": max(whole - spent, 0), "counts": counts, "tests": tests,
    }  # fmt: skip


def failures(log):
    """What pytest said of failed tests, or the log's end where it never came to that."""
    section = re.search(r"^=+ (FAILURES|ERRORS) =+$", log, re.MULTILINE)
    return log[section.start() :] if section else "\n".join(log.splitlines()[-60:])


def table(head, rows):
    """Lay rows out in columns."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def where_time_went(outcomes, slowest=10):
    """Tell the minutes of each suite, and the slowest tests of all."""
    spent = {
        o.suite: (o.boot, o.collection, sum(o.tests.values()), o.seconds, o.processor)
        for o in outcomes
    }
    spent["together"] = [sum(row[column] for row in spent.values()) for column in range(5)]
    rows = [(name, *(f"{seconds:.0f}" for seconds in row)) for name, row in spent.items()]
    tests = sorted(
        ((seconds, o.suite, name) for o in outcomes for name, seconds in o.tests.items()),
        reverse=True,
    )
    return (
        table(("seconds of", "boot", "collection", "tests", "all", "processor"), rows)
        + "\n\n"
        + table(
            ("seconds", "suite", f"slowest {slowest} tests"),
            [(f"{seconds:.1f}", suite, name) for seconds, suite, name in tests[:slowest]],
        )
    )


def verdicts(outcomes):
    """Which suite passed in which kernel by which engine, and the sum."""
    rows = [(o.suite, o.kernel, o.engine, "ok" if o.passed else "FAILED", o.said) for o in outcomes]
    passed = sum(o.counts.get("passed", 0) for o in outcomes)
    failed = sum(not o.passed for o in outcomes)
    summary = f"{passed} tests passed, {failed} of {len(outcomes)} suites failed"
    return table(("suite", "kernel", "engine", "result", "tests"), rows) + "\n" + summary
