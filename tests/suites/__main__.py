# SPDX-License-Identifier: GPL-2.0-only
"""`script/test`, once everything is set up."""

import argparse
import json
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from tests.suites.plan import IN_ONE_KERNEL, KERNELS, LAB, ONE_KERNEL, native, plan
from tests.suites.report import failures, verdicts, where_time_went
from tests.suites.runner import AT_ONCE, LOGS, Runner, causes_of

MEASURED = Path(".cache/seconds.json")


def say(text=""):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def read_measured():
    try:
        return json.loads(MEASURED.read_text())
    except (OSError, ValueError):
        return {}


def keep_measured(measured, outcomes, suites):
    """Keep what each file took, for the next plan; a run that was cut short tells nothing."""
    taken = defaultdict(dict, measured)
    for outcome in outcomes:
        if outcome.passed and outcome.suite in suites:
            kernel = f"{outcome.kernel} {outcome.engine}"
            taken[kernel] = {**taken[kernel], **{k: round(s) for k, s in outcome.files.items()}}
    MEASURED.write_text(json.dumps(taken, indent=1) + "\n")


def arguments():
    parser = argparse.ArgumentParser(prog="script/test", usage="script/test [KERNEL...] [-k EXPR]")
    parser.add_argument("kernels", nargs="*", metavar="KERNEL")
    parser.add_argument("-k", dest="expression", metavar="EXPR")
    given = parser.parse_args()
    for kernel in given.kernels:
        if kernel not in KERNELS:
            parser.error(f"no suite runs in kernel '{kernel}'; there are {', '.join(KERNELS)}")
    return list(dict.fromkeys(given.kernels)) or KERNELS, given.expression


def main():
    kernels, expression = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    measured = read_measured()
    files = sorted(path.name for path in Path(LAB).glob("test_*.py"))
    suites = plan(kernels, files, measured, expression)
    say(f"the lab in {len(suites)} guests, {AT_ONCE} suites at once; logs are in {LOGS}")
    if not expression and len(kernels) > 1:
        say(f"in {ONE_KERNEL} only:")
        for name, reason in IN_ONE_KERNEL.items():
            say(f"  {name}: {reason}")

    # While the kernels are fetched, what needs none.
    outcomes = Runner([*native(kernels, expression), *suites], say=say).run()
    if not expression:
        keep_measured(measured, outcomes, {suite.name for suite in suites})

    missing = 0
    whole = [f"{k}={causes_of(s)}" for k in kernels for s in suites if s.whole and s.kernel == k]
    if whole:
        say()
        missing = subprocess.run([sys.executable, "-m", "tests.causes", *whole], check=False)
        missing = missing.returncode
    say()
    say(where_time_went(outcomes))
    bad = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in bad:
        say(f"\n--- {outcome.suite} failed; all of it is in {LOGS / outcome.suite}")
        say(failures((LOGS / outcome.suite).read_text(errors="replace")))
    say()
    say(verdicts(outcomes))
    return 1 if bad or missing or not outcomes else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
