# SPDX-License-Identifier: GPL-2.0-only
"""Print which cause was seen in the lab of which kernel, from what tests/lab/conftest.py left.

Below the causes are the set-ups of the field, by their rows. Usage: python -m tests.causes
KERNEL=FILE... where a kernel may have several files. Exits with 1 when a set-up was not seen as
it should be, when a cause of the contract was seen nowhere in a kernel, or by a test that failed,
or when one was seen that the contract does not have.
"""

import json
import sys
from pathlib import Path

from tabulate import tabulate

from tests.policy.test_registry import CONTRACT

# What conftest.py calls a set-up by.
FIELD = "field_"


def verdict(outcomes):
    """Tell what the tests that saw a cause came to."""
    if not outcomes:
        return "MISSING"
    failed = [test for test, outcome in outcomes.items() if outcome != "passed"]
    if failed:
        return f"FAILED {len(failed)} of {len(outcomes)}, {failed[0]}"
    return f"ok {len(outcomes)}"


def main(arguments):
    seen = {}
    for argument in arguments:
        kernel, _, path = argument.partition("=")
        outcomes, file = seen.setdefault(kernel, {}), Path(path)
        for cause, of_tests in json.loads(file.read_text()).items() if file.exists() else ():
            outcomes.setdefault(cause, {}).update(of_tests)
    told = {name for outcomes in seen.values() for name in outcomes}
    fields = sorted(name for name in told if name.startswith(FIELD))
    unknown = sorted(told - {*CONTRACT, *fields})
    rows = [
        {"cause": cause, **{k: verdict(seen[k].get(cause, {})) for k in seen}}
        for cause in (*CONTRACT, *fields)
    ]
    rows += [{"cause": f"{cause}, of no contract", **dict.fromkeys(seen, "?")} for cause in unknown]
    sys.stdout.write(tabulate(rows, headers="keys") + "\n")
    return any(not cell.startswith("ok") for row in rows for cell in list(row.values())[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
