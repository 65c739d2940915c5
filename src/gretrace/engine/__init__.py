"""How programs get into the kernel and records come out of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gretrace.contract import DropFilter


@dataclass(frozen=True, slots=True)
class Lost:
    """What could not be kept apart or was not seen at all, in packets."""

    overflow: int = 0  # the table was full: counted, but not by tuple
    missed: int = 0  # the program was already running on that processor

    def sentences(self) -> list[str]:
        """Say what was lost, and what helps."""
        said = []
        if self.overflow:
            said.append(
                f"{self.overflow} dropped packets were counted but not kept apart: the table "
                "of kinds is full; narrow it with --remote, --local or --key, or raise --capacity"
            )
        if self.missed:
            said.append(
                f"{self.missed} dropped packets may have gone unseen: the probe was interrupted "
                "by another drop on the same processor"
            )
        return said


class DropTable(Protocol):
    """The kernel's running count of drops; the drop program stays attached until close()."""

    def fileno(self) -> int:
        """Return a descriptor that is readable once a new kind of drop was counted."""

    def drain(self) -> None:
        """Make the descriptor unreadable again."""

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Read every (struct drop_key, struct drop_stats)."""

    def lost(self) -> Lost:
        """Read what was lost so far."""

    def close(self) -> None:
        """Detach and free everything."""


def open_drops(drop_filter: DropFilter, capacity: int) -> DropTable:
    """Attach the drop program; `capacity` is how many kinds of drop are kept apart.

    Raises PrerequisiteError where this kernel or machine cannot do it.
    """
    from gretrace.engine.core import CoreDrops

    return CoreDrops(drop_filter, capacity)


def drop_reasons() -> dict[int, str]:
    """Return the names of the running kernel's drop reasons; empty before Linux 5.17."""
    from gretrace.engine.btf import kernel_enum

    names = kernel_enum("skb_drop_reason")
    return {value: name.removeprefix("SKB_DROP_REASON_") for value, name in names.items()}


def said() -> list[str]:
    """Return what libbpf and the verifier had to say so far."""
    from gretrace.engine.binding import MESSAGES

    return MESSAGES.lines
