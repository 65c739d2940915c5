# SPDX-License-Identifier: GPL-2.0-only
"""What can go wrong, and the exit code that says so."""

from enum import IntEnum, StrEnum
from typing import Self


class ExitCode(IntEnum):
    """How every command ends."""

    HEALTHY = 0
    FAILED = 1
    USAGE = 2
    REJECTS_FOUND = 3
    PREREQUISITE_MISSING = 4
    INTERRUPTED = 130  # as a shell has it: 128 and SIGINT


class Remedy(StrEnum):
    """What helps that the caller can choose; the command line has options for it.

    What an error says of a remedy may have one among other words.
    """

    FEWER_PACKETS = "watch fewer packets, by their remote, local or key"
    FEWER_PACKETS_OR_MORE_KINDS = f"{FEWER_PACKETS}, or have room for more kinds"
    FEWER_KINDS = "have room for fewer kinds"
    OTHER_TUNNELS = "give those of another host"
    ANY_HOOK = "let the hook be chosen"
    REPLACE = "take it off, or have it replaced"
    MORE_WORDS = "have all that was said shown"


class Remark(str):
    """A sentence about what is no failure, and what helps."""

    what: str
    remedy: str

    def __new__(cls, what: str, remedy: str) -> Self:
        """Put the sentence together."""
        made = super().__new__(cls, f"{what}; {remedy}")
        made.what, made.remedy = what, remedy
        return made


class GretraceError(Exception):
    """A failure that the user can act on: what is wrong, and what to do about it."""

    exit_code = ExitCode.FAILED

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy


class UsageError(GretraceError):
    """The command was asked for something that cannot be."""

    exit_code = ExitCode.USAGE


class PrerequisiteError(GretraceError):
    """The machine lacks something that the command needs."""

    exit_code = ExitCode.PREREQUISITE_MISSING


def describe_fault(error: Exception) -> tuple[str, str]:
    """Say in one line what an unforeseen error is, and where in our source: "live.py:51"."""
    words = str(error).splitlines()
    place, step = "nowhere of ours", error.__traceback__
    while step:
        folder, _, name = step.tb_frame.f_code.co_filename.rpartition("/")
        if "gretrace" in folder.split("/"):
            place = f"{name}:{step.tb_lineno}"
        step = step.tb_next
    return f"{type(error).__name__}: {words[0] if words else 'no words'}"[:200], place


class StalledError(BaseException):
    """Nobody reads what is said, and it is time to end.

    No Exception, as it may be raised anywhere, and is no fault of what it interrupts.
    """


class NotForCoreError(PrerequisiteError):
    """The kernel takes no program that was built ahead of time; one compiled for it may do."""
