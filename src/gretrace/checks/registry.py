# SPDX-License-Identifier: GPL-2.0-only
"""All checks, each entered by the function that makes it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from gretrace.commands import Command
from gretrace.errors import GretraceError
from gretrace.host.facts import Host
from gretrace.host.tunnels import TunnelTable


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    MISSING = "missing"  # something that gretrace needs
    WARNING = "warning"  # something that tunnels or keepalives would fall over
    ABSENT = "absent"  # something that only some commands or kernels need


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    found: str  # what is there, in words
    remedy: str | Command | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """What a check may look at beside /proc and /sys: one namespace."""

    table: TunnelTable
    host: Host


Look: TypeAlias = Callable[[Machine], Iterator[Check]]

CHECKS: list[tuple[str, Look]] = []


def check(name: str) -> Callable[[Look], Look]:
    """Enter the function below; it yields one Check or more, or none where nothing is to say.

    `name` is what is told when the check itself fails.
    """

    def enter(look: Look) -> Look:
        CHECKS.append((name, look))
        return look

    return enter


def run_all(machine: Machine) -> Iterator[Check]:
    """Make every check; one that cannot be made says why, and the others follow."""
    for name, look in CHECKS:
        try:
            yield from look(machine)
        except GretraceError as error:
            yield Check(name, State.MISSING, error.what, error.remedy)
        except OSError as error:
            yield Check(name, State.WARNING, f"cannot be looked at ({error.strerror})")
