# SPDX-License-Identifier: GPL-2.0-only
"""The command `gretrace`: what is there before anything is imported, which takes a while."""

import sys

# What `signal` is made of, and there at once: its own import is the longest of this module.
from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIG_IGN,
    SIG_UNBLOCK,
    SIGINT,
    getsignal,
    pthread_sigmask,
    signal,
)

# Whether the process is the command's own, so that it may let go of what it needs no longer.
is_own_process = False


def main() -> None:
    """Run the command; every failure is one line on stderr and a code of ExitCode.

    Ctrl-C is answered in words by the commands. Until they are imported, and after they have
    ended, it ends the program as it ends any: an exception would come out as a traceback. The
    script that is installed has it held back for as long as Python itself starts.
    """
    global is_own_process  # noqa: PLW0603
    is_own_process = True
    _end_at_interrupt()
    pthread_sigmask(SIG_UNBLOCK, (SIGINT,))
    try:
        code = run(None)
    except KeyboardInterrupt:
        # It came while another end was being told.
        code = 128 + SIGINT
    _end_at_interrupt()
    sys.exit(code)


def run(arguments: list[str] | None) -> int:
    """Run a command with these arguments, or those of the process, and return its exit code."""
    from gretrace.cli.outcome import run as run_command

    return run_command(arguments)


def _end_at_interrupt() -> None:
    # One that is ignored, as in the background of a script, stays so.
    if getsignal(SIGINT) is not SIG_IGN:
        signal(SIGINT, SIG_DFL)
