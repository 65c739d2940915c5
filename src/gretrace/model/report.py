# SPDX-License-Identifier: GPL-2.0-only
"""Why packets were dropped, in words, and how often."""

from dataclasses import dataclass
from enum import StrEnum

from gretrace.commands import Command
from gretrace.model.drop import Drop, Tuple
from gretrace.model.protocols import Address


class Where(StrEnum):
    """Who has to act."""

    HERE = "here"
    PEER = "peer"
    PATH = "path"


class Confidence(StrEnum):
    """Whether the evidence admits no other cause."""

    CERTAIN = "certain"
    LIKELY = "likely"


class Change(StrEnum):
    """What can be changed at the other end of a tunnel, whoever has made it."""

    KEY = "key"  # to send this one
    NO_KEY = "no key"
    CHECKSUM = "checksum"
    NO_CHECKSUM = "no checksum"
    SEQUENCE = "sequence"  # to number packets
    SOURCE = "source"  # to send from this address
    DESTINATION = "destination"  # to send to this address; None: to one that only people know
    MTU = "mtu"  # in bytes, of the tunnel or at least of IPv4 in it
    MTU_IPV6 = "mtu of IPv6"  # of IPv6 in it
    TOS = "tos"  # to take the outer TOS from the packet inside
    MODE = "mode"  # to be of the kind that the peer is to be of
    NO_KEEPALIVES = "no keepalives"
    NO_CDP = "no CDP"
    NO_TUNNEL = "no tunnel"


@dataclass(frozen=True, slots=True)
class Ask:
    """What the other end is to change, for whoever knows how its vendor words that."""

    change: Change
    kind: str  # of tunnel that it has to be, as `ip link` names it
    value: int | Address | None = None
    # Whether the same is right for what it expects: many vendors have one setting for both ways.
    both_ways: bool = True


@dataclass(frozen=True, slots=True)
class Fix:
    """One way to mend the fault."""

    where: Where
    note: str
    command: Command | None = None
    ask: Ask | None = None  # of the peer, where it is one setting


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
