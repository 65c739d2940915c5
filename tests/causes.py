# SPDX-License-Identifier: GPL-2.0-only
"""Print which cause was seen in the lab of which kernel, from what tests/lab/conftest.py left.

Usage: python -m tests.causes KERNEL=FILE... where a kernel may have several files. Exits with
1 when a cause was seen nowhere in a kernel, or by a test that failed.
"""

import json
import sys
from pathlib import Path

from tabulate import tabulate

from gretrace.verdicts import CAUSES


def verdict(outcomes):
    """Tell what the tests that saw a cause came to."""
    if not outcomes:
        return "MISSING"
    failed = sum(outcome != "passed" for outcome in outcomes)
    return f"FAILED {failed} of {len(outcomes)}" if failed else f"ok {len(outcomes)}"


def main(arguments):
    seen = {}
    for argument in arguments:
        kernel, _, path = argument.partition("=")
        outcomes, file = seen.setdefault(kernel, {}), Path(path)
        for cause, of_tests in json.loads(file.read_text()).items() if file.exists() else ():
            outcomes[cause] = outcomes.get(cause, []) + of_tests
    rows = [
        {"cause": cause.name, **{k: verdict(seen[k].get(cause.name, [])) for k in seen}}
        for cause in CAUSES
    ]
    sys.stdout.write(tabulate(rows, headers="keys") + "\n")
    return any(not cell.startswith("ok") for row in rows for cell in list(row.values())[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
