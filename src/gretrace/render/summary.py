# SPDX-License-Identifier: GPL-2.0-only
"""The table at the end: how many packets died of what."""

from collections.abc import Iterable

from gretrace.model import Total
from gretrace.render.door import Shown, join, line, table

# What a person reads. A flood of forged packets makes a total of each.
ROWS_AT_MOST = 1000


def summary(every: Iterable[Total]) -> Shown:
    """Make the table of all totals, most frequent first; of very many, say what is left out."""
    totals = sorted(every, key=lambda total: -total.count)
    several = len({total.netns for total in totals if total.netns}) > 1
    rows = [
        {
            "packets": total.count,
            "cause": total.cause,
            "tunnel": total.tunnel or "-",
            "remote": total.tuple.remote or ("any" if total.reports == 1 else "many"),
            "local": total.tuple.local or ("any" if total.reports == 1 else "many"),
            "key": _key(total),
            "protocol": "-" if total.tuple.protocol is None else f"{total.tuple.protocol:#06x}",
            "iif": total.iif or "-",
            **({"namespace": total.namespace or total.netns} if several else {}),
        }
        for total in totals[:ROWS_AT_MOST]
    ]
    made = [table(rows)]
    rest = totals[ROWS_AT_MOST:]
    if rest:
        packets = sum(total.count for total in rest)
        made.append(line(f"... and {len(rest)} more, of {packets} packets; JSON has each"))
    return join(made)


def _key(total: Total) -> int | str:
    if total.reports > 1:
        return "many"
    return "none" if total.tuple.key is None else total.tuple.key
