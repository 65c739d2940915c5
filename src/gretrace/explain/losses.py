# SPDX-License-Identifier: GPL-2.0-only
"""What could not be explained because it was lost, told once and then as it grows."""

import time
from collections.abc import Callable, Iterable, Mapping

from gretrace.engine import Lost, Unkept
from gretrace.engine.decode import parse_place
from gretrace.errors import Remark, Remedy

# How often a growth is told, in seconds.
PAUSE = 60.0
# Of many places, those that lost the most.
PLACES_AT_MOST = 4

NAMELESS = (
    "the kernel hides the addresses of its functions, so drops cannot be told by their "
    "place: give CAP_SYSLOG, or sysctl -w kernel.kptr_restrict=1"
)


class Losses:
    """Tells what was lost: at once when it begins, then at most once a PAUSE, and at the end."""

    def __init__(
        self,
        tell: Callable[[str], None],
        reasons: Callable[[], Mapping[int, str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # `reasons` names the values of the kernel's enum skb_drop_reason, which takes long.
        self._tell, self._reasons, self._clock = tell, reasons, clock
        self._told = Lost()
        self._told_at = -PAUSE

    def note(self, lost: Lost, *, is_last: bool = False) -> None:
        """Tell what is new in all that was lost so far, if it is time."""
        if lost == self._told:
            return
        if lost.nameless and not self._told.nameless:
            self._tell(NAMELESS)
        if is_last or self._clock() - self._told_at >= PAUSE:
            for sentence in (self._unkept(lost), _missed(lost, self._told)):
                if sentence:
                    self._tell(sentence)
                    self._told_at = self._clock()
            self._told = lost

    def _unkept(self, lost: Lost) -> str | None:
        added = lost.overflow - self._told.overflow
        if not added:
            return None
        known = {(each.place, each.reason): each.packets for each in self._told.unkept}
        grown = [
            Unkept(each.place, each.reason, more)
            for each in lost.unkept
            if (more := each.packets - known.get((each.place, each.reason), 0))
        ]
        many = f"{added} dropped packets"
        if self._told.overflow:
            many = f"{added} more dropped packets, {lost.overflow} in all,"
        return Remark(
            f"{many} were counted but not "
            f"kept apart ({_by_place(grown, self._reasons())}): the table of kinds was full",
            Remedy.FEWER_PACKETS_OR_MORE_KINDS,
        )


def _missed(lost: Lost, before: Lost) -> str | None:
    if lost.missed == before.missed:
        return None
    return (
        f"{lost.missed} dropped packets may have gone unseen: the probe was interrupted "
        "by another drop on the same processor"
    )


def _by_place(unkept: Iterable[Unkept], reasons: Mapping[int, str]) -> str:
    most = sorted(unkept, key=lambda each: -each.packets)
    words = [
        f"{each.packets} in {parse_place(each.place, 0) if each.place else 'a nameless place'}"
        + (f", {reasons.get(each.reason, each.reason)}" if each.reason and reasons else "")
        for each in most[:PLACES_AT_MOST]
    ]
    rest = sum(each.packets for each in most[PLACES_AT_MOST:])
    return "; ".join([*words, *([f"{rest} elsewhere"] if rest else [])])
