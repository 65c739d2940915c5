# SPDX-License-Identifier: GPL-2.0-only
"""The terms of the kernel's way: steps, and where on it a packet ends.

A step is one row, a function under `@step`: where the kernel frees packets there, which of the
tunnel's counters moves, and, as the function, whether it ends a given packet: True, False, or
None where what that depends on is not known. A way is its steps in the order in which the kernel
comes to them, forward to where it ends (`Way.walk`), or back from the place at which the kernel
freed a packet to the steps that can have done it (`Way.fitting`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

from gretrace.model import Drop, Place

# Where the kernel gives no reason: v5.10 has none at all, later ones not for each free.
UNTOLD = (None, "NOT_SPECIFIED")

# What is known of a packet, as the steps of one way look at it.
P = TypeVar("P")
Ends: TypeAlias = Callable[[P], bool | None]


class By(Enum):
    """What a packet looks like by then, when it is freed."""

    ANYHOW = "it tells nothing"
    OUTER = "with its outer headers"
    UNDERLAY = "with its outer headers, and on the underlay's device"
    PULLED = "on the underlay's device, but its network header is the inner one"
    INNER = "without outer headers, and on the tunnel's device"

    def fits(self, drop: Drop) -> bool:
        """Whether a packet that was freed looked so."""
        if self is By.ANYHOW:
            return True
        if self is By.PULLED:
            return drop.is_pulled
        return not drop.is_pulled and (self is By.OUTER or drop.on_tunnel == (self is By.INNER))


@dataclass(frozen=True, slots=True)
class Free:
    """Functions that free packets at a step.

    A name that ends in "*" stands for all that begin so. Without functions the reason tells.
    """

    functions: tuple[str, ...] = ()
    module: str | None = None  # where several modules have a function of that name
    reasons: tuple[str | None, ...] = ()  # that it gives; none: any
    family: int | None = None  # of the outer header, where the way differs
    by_then: By = By.ANYHOW
    # The reason names the step, whatever is known now: that may have changed since.
    is_told: bool = False

    def matches(self, drop: Drop, family: int) -> bool:
        """Whether a packet that was freed on a way of that family was freed so."""
        place, reason = drop.place, drop.reason
        if self.family not in (None, family) or not self.by_then.fits(drop):
            return False
        if self.reasons and reason not in self.reasons:
            return False
        # A kernel that has the module built in names none.
        if self.module and place.module not in (self.module, None):
            return False
        names = self.functions
        return not names or any(_is_called(place.function, name) for name in names)

    @property
    def place(self) -> Place:
        """Its place, as the kernels of today call it."""
        return Place(self.functions[0], self.module)


@dataclass(frozen=True, eq=False)
class Step(Generic[P]):
    """One row of a way."""

    name: str
    ends: Ends[P]
    frees: tuple[Free, ...]
    counts: tuple[str, ...] = ()  # of struct rtnl_link_stats64 of the tunnel

    @property
    def says(self) -> str:
        """In words, what ends a packet here."""
        return " ".join((self.ends.__doc__ or "").split())

    def can_free(self, drop: Drop, family: int) -> bool:
        """Whether the kernel frees packets so at this step."""
        return any(free.matches(drop, family) for free in self.frees)

    def free(self, family: int) -> Free:
        """Return how it frees on a way of that family, as the kernels of today do."""
        return next(free for free in self.frees if free.family in (None, family))

    def __str__(self) -> str:
        return self.name


def step(*frees: Free, counts: Sequence[str] = ()) -> Callable[[Ends[P]], Step[P]]:
    """Make a step of the function below, which tells whether it ends a packet."""

    def make(ends: Ends[P]) -> Step[P]:
        name = getattr(ends, "__name__", "").replace("_", "-")
        return Step(name, ends, frees, tuple(counts))

    return make


@dataclass(frozen=True, slots=True)
class Outcome(Generic[P]):
    """Where a way ends for a packet: at a step, or behind the last of them."""

    step: Step[P] | None
    doubts: tuple[Step[P], ...] = ()  # steps before that may have ended it as well


@dataclass(frozen=True, slots=True)
class Way(Generic[P]):
    """Steps in the order in which the kernel comes to them."""

    family: int  # of the outer header
    steps: tuple[Step[P], ...]

    @property
    def functions(self) -> frozenset[str]:
        """All functions of the kernel that free packets on it, by their whole names."""
        every = (name for s in self.steps for free in s.frees for name in free.functions)
        return frozenset(name for name in every if not name.endswith("*"))

    def can_free(self, drop: Drop) -> bool:
        """Whether the kernel frees packets so at any of its steps."""
        return any(each.can_free(drop, self.family) for each in self.steps)

    def walk(self, passage: P) -> Outcome[P]:
        """Go to the first step that is known to end the packet."""
        doubts: list[Step[P]] = []
        for each in self.steps:
            ends = each.ends(passage)
            if ends:
                return Outcome(each, tuple(doubts))
            if ends is None:
                doubts.append(each)
        return Outcome(None, tuple(doubts))

    def is_behind(self, step: Step[P], other: Step[P]) -> bool:
        """Whether the kernel comes to a step only after another."""
        return self.steps.index(step) > self.steps.index(other)

    def fitting(self, passage: P, drop: Drop) -> tuple[Step[P], ...]:
        """Return the steps that can have ended a packet, from where the kernel freed it.

        The one alone that is known to; several where what they depend on is not known.
        """
        possible: list[Step[P]] = []
        for each in self.steps:
            # A step elsewhere did not end it, whatever is known: the kernel is right.
            frees = [free for free in each.frees if free.matches(drop, self.family)]
            if not frees:
                continue
            ends = each.ends(passage)
            if ends:
                return (each,)
            if ends is None or any(free.is_told for free in frees):
                possible.append(each)
        return tuple(possible)


def _is_called(function: str, name: str) -> bool:
    return function.startswith(name[:-1]) if name.endswith("*") else function == name
