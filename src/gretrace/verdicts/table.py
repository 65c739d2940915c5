# SPDX-License-Identifier: GPL-2.0-only
"""The documentation's table of causes: `python -m gretrace.verdicts.table > docs/causes.md`."""

import sys

from gretrace.verdicts import CAUSES, Cause
from gretrace.verdicts.doubts import DOUBTS

HEAD = """# Why gretrace says a packet died

Generated from the functions that recognise the causes (src/gretrace/verdicts). The names
are stable: scripts may depend on them.

*Certain* means that what was observed admits no other cause; *likely* that it does, and the
report then says why. What a cause cannot know is yours to find out.

| cause | meaning | how it is told | how sure | cannot know |
| --- | --- | --- | --- | --- |
"""


def causes_page() -> str:
    """Return the page as Markdown, the causes by their names and the last resort last."""
    ordered = sorted(CAUSES, key=lambda cause: (cause.last_resort, cause.name))
    return HEAD + "".join(_row(cause) for cause in ordered)


def _row(cause: Cause) -> str:
    told = " ".join((cause.recognise.__doc__ or "").split())
    sure, unknown = DOUBTS[cause.name]
    return f"| `{cause.name}` | {cause.meaning} | {told} | {sure} | {unknown} |\n"


if __name__ == "__main__":
    sys.stdout.write(causes_page())
