# SPDX-License-Identifier: GPL-2.0-only
"""What packets wait in before a device sends them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Queue:
    """A qdisc of a device, as `tc -s qdisc` shows it.

    Handles are those of `tc`, the major number in the upper half: 0 is of a qdisc that the
    kernel made by itself, and as a parent of the device's only one. Rates are in bytes a second.
    """

    kind: str
    handle: int = 0
    parent: int = 0  # the class that it is in; 0: it is the device's root
    dropped: int = 0  # packets, ever
    backlog: int = 0  # bytes that wait now
    waiting: int = 0  # packets that wait now
    limit: int | None = None  # of what may wait; None where the kind has none, or another
    is_limit_in_bytes: bool = False
    rate: int | None = None  # that it, or the nearest class or qdisc above it, lets through at most
    assured: int | None = None  # of that, what it gets in any case: of a class of htb it is less
    shaper: str | None = None  # which that is, in the words of `tc`; None: there is none
    burst: int | None = None  # of tbf, in bytes: no longer packet passes
    # That `tc qdisc change` may say what is to be changed, and everything else stays.
    is_plain: bool = False

    @property
    def name(self) -> str:
        """Kind and handle, in the words of `tc`."""
        return f"{self.kind} {show_handle(self.handle)}"


def show_handle(handle: int) -> str:
    """Write a handle as `tc` does: "8001:", or "1:10" for a class."""
    return f"{handle >> 16:x}:{handle & 0xFFFF:x}" if handle & 0xFFFF else f"{handle >> 16:x}:"
