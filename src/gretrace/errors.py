"""What can go wrong, and the exit code that says so."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How every command ends."""

    HEALTHY = 0
    FAILED = 1
    USAGE = 2
    REJECTS_FOUND = 3
    PREREQUISITE_MISSING = 4


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


class StalledError(BaseException):
    """Nobody reads what is said, and it is time to end.

    No Exception, as it may be raised anywhere, and is no fault of what it interrupts.
    """


class NotForCoreError(PrerequisiteError):
    """The kernel takes no program that was built ahead of time; one compiled for it may do."""
