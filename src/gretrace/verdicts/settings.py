# SPDX-License-Identifier: GPL-2.0-only
"""The words for kernel settings of a device."""

from gretrace.kernel.settings import of_both, reverse_path
from gretrace.verdicts.case import Case

_MODES = {0: "off", 1: "strict", 2: "loose"}


def describe_reverse_path(case: Case, device: str) -> str:
    """Tell both values of rp_filter, and which counts."""
    values = of_both(case.host.sysctl, device, "rp_filter")
    both = " and ".join(f"{n} is {'unknown' if v is None else v}" for n, v in values.items())
    counts = reverse_path(case.host.sysctl, device)
    if counts is None:
        return f"{both}."
    return f"{both}: the greater one counts, {counts} ({_MODES.get(counts, 'unknown')})."
