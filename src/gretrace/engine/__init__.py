# SPDX-License-Identifier: GPL-2.0-only
"""How programs get into the kernel and records come out of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gretrace.engine.contract import LOOKUP_WINDOW_NS, LookupBudget, TupleFilter
from gretrace.errors import Remark, Remedy

# What `engine` may be: "auto" takes core where the kernel's BTF serves, else bcc.
ENGINES = ("auto", "core", "bcc")

# Of the decisions made within so many seconds only the first wakes a reader of a LookupTable:
# who was woken looks again this much later, until a look finds nothing.
LOOKUP_WINDOW = LOOKUP_WINDOW_NS / 1e9


@dataclass(frozen=True, slots=True)
class Kind:
    """Drops that are one to the kernel, as far as they were not yielded before."""

    key: bytes  # struct drop_key
    stats: bytes  # struct drop_stats; its count is of more than these
    place: bytes  # what the kernel calls the location (%pB); empty where nothing tells
    count: int


@dataclass(frozen=True, slots=True)
class Unkept:
    """Drops of one place and reason that found no room in the table."""

    place: bytes  # as that of a Kind
    reason: int | None  # as the running kernel numbers it; None: of several
    packets: int


@dataclass(frozen=True, slots=True)
class Lost:
    """What could not be kept apart or was not seen at all."""

    unkept: tuple[Unkept, ...] = ()  # counted, but not by tuple
    missed: int = 0  # packets: the program was already running on that processor
    nameless: bool = False  # the places cannot be told: the kernel hides where its functions are

    @property
    def overflow(self) -> int:
        """How many packets were counted, but not by tuple."""
        return sum(each.packets for each in self.unkept)


class DropTable(Protocol):
    """The kernel's running count of drops; the drop program stays attached until close()."""

    def fileno(self) -> int:
        """Return a descriptor that is readable once a new kind of drop was counted."""

    def look(self) -> None:
        """Read what was counted, and make the descriptor unreadable again."""

    def kinds(self, *, grown: bool = True) -> Iterator[Kind]:
        """Yield each kind of which drops were counted since it was yielded last, as of the look.

        Without `grown`, those that are known already may be left for later. A kind may come
        with a count that begins anew: the kernel keeps what goes on, and lets go of the rest.
        """

    def lost(self) -> Lost:
        """Read what was lost so far."""

    @property
    def in_table(self) -> int:
        """How many kinds the table held at the last look."""

    def close(self) -> None:
        """Detach and free everything."""


def open_drops(tuple_filter: TupleFilter, capacity: int, engine: str = "auto") -> DropTable:
    """Attach the drop program.

    `capacity` is how many kinds of drop the kernel has room for between two looks.
    Raises PrerequisiteError where this kernel or machine cannot do it.
    """
    from gretrace.engine.choice import attach
    from gretrace.engine.drops import Drops, room_in
    from gretrace.engine.probes import DROPS, Settings

    # A generation needs its room while the one before is read.
    settings = Settings({"filter": tuple_filter, "room": room_in(capacity)}, 2 * capacity)
    return attach(lambda probe: Drops(probe, capacity), DROPS, settings, engine)


@dataclass(frozen=True, slots=True)
class LookupsLost:
    """What was not seen of the lookups, or not one by one, in packets."""

    overflow: int = 0  # counted, but not by tuple: too many kinds
    ring_full: int = 0  # counted, but the ring had no room for the event
    missed: int = 0  # a program was already running on that processor
    not_shown: int = 0  # counted, and left out on purpose: over the budget of events

    def sentences(self) -> list[str]:
        """Say what was lost, and what helps. What is over the budget is not lost but counted."""
        said: list[str] = []
        if self.overflow:
            said.append(
                Remark(
                    f"{self.overflow} lookups were counted but not kept apart: there are too many "
                    "kinds",
                    Remedy.FEWER_PACKETS_OR_MORE_KINDS,
                )
            )
        if self.ring_full:
            said.append(
                Remark(
                    f"{self.ring_full} lookups were counted but not shown: they came faster than "
                    "they were read",
                    Remedy.FEWER_PACKETS,
                )
            )
        if self.missed:
            said.append(
                f"{self.missed} lookups may have gone unseen: the probe was interrupted by "
                "another lookup on the same processor"
            )
        return said


class LookupTable(Protocol):
    """The kernel's answers of the tunnel lookup; the programs stay attached until close()."""

    @property
    def watches_ipv6(self) -> bool:
        """Whether GRE over IPv6 is watched: not where ip6_gre was not loaded at the start."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when there are events; see LOOKUP_WINDOW."""

    def take(self) -> list[bytes]:
        """Return every struct lookup_event since the last call; the oldest comes first.

        It also makes room in the kernel, so it must be called again and again.
        """

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Read every (struct lookup_key, struct lookup_stats) since the start.

        Counts are exact, with or without events. Of too many kinds those that were not seen for
        long are let go of, and are part of what was lost.
        """

    def lost(self) -> LookupsLost:
        """Read what was lost or left out so far."""

    def close(self) -> None:
        """Detach and free everything; a second time it does nothing."""


def open_lookups(
    tuple_filter: TupleFilter, capacity: int, budget: int, engine: str = "auto"
) -> LookupTable:
    """Attach the lookup programs.

    `capacity` is how many kinds (tuple and chosen tunnel) are kept apart, in the kernel between
    two looks as in all; `budget` is how many events are sent at most each LOOKUP_WINDOW, 0 for
    all. Counts do not depend on it.
    Raises PrerequisiteError where this kernel or machine cannot do it.
    """
    from gretrace.engine.choice import attach
    from gretrace.engine.lookups import Lookups
    from gretrace.engine.probes import LOOKUPS, Settings

    limits = LookupBudget(events=budget, kinds=capacity)
    # A generation needs its room while the one before is read.
    settings = Settings({"filter": tuple_filter, "budget": limits}, 2 * capacity)
    return attach(lambda probe: Lookups(probe, capacity), LOOKUPS, settings, engine)


def drop_reasons() -> dict[int, str]:
    """Return the names of the running kernel's drop reasons; empty before Linux 5.17."""
    from gretrace.engine.btf import kernel_enum

    names = kernel_enum("skb_drop_reason")
    if not names:
        from gretrace.engine.tracepoints import named_values

        return named_values("skb/kfree_skb")
    # v7.0 has those of qdiscs beside them, in the numbers of a subsystem (dropreason-qdisc.h).
    names = {**kernel_enum("qdisc_drop_reason"), **names}
    return {value: name.removeprefix("SKB_DROP_REASON_") for value, name in names.items()}


def libbpf_version() -> str:
    """Return the version of the libbpf that is used, as "libbpf 1.1".

    Raises PrerequisiteError when there is none.
    """
    from gretrace.engine.binding import version

    return version()


def bcc_version() -> str:
    """Return the version of bcc, as "bcc 0.26.0".

    Raises PrerequisiteError when there is none that works.
    """
    from gretrace.engine.compiler import bcc_version as version

    return version()


def has_headers() -> bool:
    """Whether bcc can ask the headers of the running kernel."""
    from gretrace.engine.bcc import has_headers as found

    return found()


def engine_said() -> str:
    """Return which engine loaded the last probe, and why: "engine core: ..."."""
    return next(line for line in reversed(said()) if line.startswith("engine "))


def said() -> list[str]:
    """Return what libbpf, bcc and the verifier had to say so far, and which engine was taken."""
    from gretrace.engine.binding import MESSAGES

    return MESSAGES.lines
