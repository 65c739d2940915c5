# SPDX-License-Identifier: GPL-2.0-only
"""What is said of rules that clamp TCP segments, where packets were too long."""

from gretrace.kernel.segments import directions
from gretrace.verdicts.case import Case


def describe_clamps(case: Case, device: str, size: int, *, trusts_route: bool) -> str:
    """Tell which direction of the TCP through a device has its segments clamped to `size` bytes.

    `trusts_route` is whether what the route says of the device's MTU is right.
    """
    ruleset = case.host.firewall()
    if ruleset.unread:
        return f"Whether rules clamp TCP segments could not be read, {ruleset.unread}."
    ways = directions(ruleset, device)
    lacking = [way.words for way in ways if not way.serves(size, trusts_route=trusts_route)]
    if not lacking:
        return f"Rules clamp TCP segments to {size} bytes each way; open connections keep theirs."
    others = [way for way in ways if way.words not in lacking]
    beside = f", though one does for {others[0].words}" if others else ""
    return f"No rule clamps segments to {size} bytes in {' or in '.join(lacking)}{beside}."
