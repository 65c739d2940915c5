# SPDX-License-Identifier: GPL-2.0-only
"""How a command ends: the way from errors to one line and an exit code."""

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

import click

from gretrace.cli.commands import Commands, version
from gretrace.cli.remedies import with_options
from gretrace.errors import ExitCode, GretraceError, StalledError, describe_fault
from gretrace.live import is_stalled
from gretrace.render.door import line, put

# What write(2) says of a stream that takes no more.
UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _say_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        put(sys.stdout, line(version()))
        context.exit()


@click.group(
    cls=Commands,
    # Without a command the help is shown, as a failure; click before 8.2 takes it for success.
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_say_version,
    help="Say the version of gretrace, libbpf and the kernel.",
)
@click.pass_context
def gretrace(context: click.Context) -> int | None:
    """Say why a GRE tunnel is broken, on the kernel that is running."""
    if context.invoked_subcommand:
        return None
    put(sys.stderr, *map(line, context.get_help().splitlines()))
    return ExitCode.USAGE


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    _open_closed_streams()
    _take_any_character()
    try:
        return _run(arguments)
    except GretraceError as error:
        return _fail(with_options(error), error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "gretrace"
        return _fail(f"{error.format_message().rstrip('.')}; see {command} --help", ExitCode.USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), ExitCode.FAILED)
    except StalledError:
        for stream in (sys.stdout, sys.stderr):
            if is_stalled(stream.fileno()):
                _discard(stream)
        return _fail("nobody reads what it says; it ended without the rest", ExitCode.FAILED)
    except (KeyboardInterrupt, click.Abort):
        return _fail(f"interrupted; {_left()}", ExitCode.INTERRUPTED)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            return _fail_by_fault(error)
        _discard(sys.stdout)
        if error.errno == errno.EPIPE:
            # The reader (head, a closed terminal) has had enough.
            return ExitCode.FAILED
        return _fail(f"cannot write what it says ({error.strerror})", ExitCode.FAILED)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is one line
        return _fail_by_fault(error)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        result = gretrace.main(arguments, prog_name="gretrace", standalone_mode=False)
    except SystemExit as ended:
        # So click ends where the reader has had enough.
        result = ended.code
    # Only here it can still be told that what was said cannot be written.
    sys.stdout.flush()
    return result if isinstance(result, int) else ExitCode.HEALTHY


def _left() -> str:
    """Say what is left of a command that was interrupted."""
    if gretrace.called == "respond":
        return "a responder that is attached by now stays, gretrace tunnels shows it"
    return "nothing is left attached"


def _open_closed_streams() -> None:
    """Give every standard stream that the caller has closed (>&-) a place to write to."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest descriptor that is free is that of the stream.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _take_any_character() -> None:
    """Escape what the terminal's encoding does not have; it is no reason to fail."""
    for stream, errors in (
        (sys.stdin, "surrogateescape"),
        (sys.stdout, "backslashreplace"),
        (sys.stderr, "backslashreplace"),
    ):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=errors)


def _discard(stream: TextIO) -> None:
    """Let what is still to be written to a stream that takes no more, at exit too, go nowhere."""
    with suppress(OSError, ValueError):  # a stream of a test may have no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _fail_by_fault(error: Exception) -> int:
    from gretrace.explain.faults import please_report

    what, place = describe_fault(error)
    return _fail(f"this is a bug: {what} ({place}); {please_report()}", ExitCode.FAILED)


def _fail(message: str, code: ExitCode) -> int:
    try:
        put(sys.stderr, line(f"gretrace: {message}"))
    except OSError:
        # Then the code is all that is left to say it.
        _discard(sys.stderr)
    return code
