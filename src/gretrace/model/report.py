# SPDX-License-Identifier: GPL-2.0-only
"""Why packets were dropped, in words, and how often."""

from dataclasses import dataclass
from enum import StrEnum

from gretrace.commands import Command
from gretrace.model.drop import Drop, Tuple


class Where(StrEnum):
    """Who has to act."""

    HERE = "here"
    PEER = "peer"
    PATH = "path"


class Confidence(StrEnum):
    """Whether the evidence admits no other cause."""

    CERTAIN = "certain"
    LIKELY = "likely"


@dataclass(frozen=True, slots=True)
class Fix:
    """One way to mend the fault."""

    where: Where
    note: str
    command: Command | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a cause's function says of a drop that it recognised."""

    summary: str
    evidence: tuple[str, ...]
    fix: tuple[Fix, ...]
    path: tuple[str, ...]  # the steps that the packet took; it died in the last
    confidence: Confidence = Confidence.CERTAIN
    tunnel: str | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A cause that could not be asked about a drop."""

    cause: str
    what: str  # the error, in one line
    place: str  # where in the source: "filtering.py:51"
    is_ours: bool  # False: the host did not let itself be asked


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a packet was dropped, in words, and what to do about it."""

    cause: str
    finding: Finding
    faults: tuple[Fault, ...] = ()  # what went wrong before it was found


@dataclass(frozen=True, slots=True)
class Report:
    """A verdict with the drops that it explains so far."""

    verdict: Verdict
    drop: Drop  # the newest of its kind
    iif: str | None
    namespace: str | None  # the name by which the user knows it; None for the caller's own
    tuple: Tuple
    count: int
    first_ns: int  # CLOCK_REALTIME
    last_ns: int
    id: int = 0  # the same for all that is said of this report during a run


@dataclass(frozen=True, slots=True)
class Total:
    """How often a report was counted, without its words."""

    cause: str
    tunnel: str | None
    netns: int
    iif: str | None
    namespace: str | None  # as of a Report
    tuple: Tuple
    count: int
    reports: int = 1  # more: so many that were not kept apart, with no more in common
