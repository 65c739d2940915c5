"""The command `gretrace`: one module for each command, and the way from errors to exit codes."""

import os
import sys
from collections.abc import Sequence

import click

from gretrace.cli.commands import Commands, version
from gretrace.errors import ExitCode, GretraceError, StalledError
from gretrace.live import STDERR, STDOUT, is_stalled


def _say_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(version())
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
    click.echo(context.get_help(), err=True)
    return ExitCode.USAGE


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; every failure is one line on stderr and a code of ExitCode."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    _open_closed_streams()
    try:
        result = gretrace.main(arguments, prog_name="gretrace", standalone_mode=False)
    except GretraceError as error:
        return _fail(str(error), error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "gretrace"
        return _fail(f"{error.format_message().rstrip('.')}; see {command} --help", ExitCode.USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), ExitCode.FAILED)
    except StalledError:
        _discard_output()
        return _fail("nobody reads what it says; it ended without the rest", ExitCode.FAILED)
    except BrokenPipeError:
        # The reader (head, a closed terminal) has had enough; Python would complain at exit.
        sys.stdout = None
        return ExitCode.FAILED
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted; nothing is left attached", ExitCode.FAILED)
    except OSError as error:
        return _fail(f"{error}; this should not happen, please report it", ExitCode.FAILED)
    return result if isinstance(result, int) else ExitCode.HEALTHY


def _open_closed_streams() -> None:
    """Give every standard stream that the caller has closed (>&-) a place to write to."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest descriptor that is free is that of the stream.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _discard_output() -> None:
    """Let what is still to be written to a stalled stream, at exit too, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (STDOUT, STDERR):
        if is_stalled(descriptor):
            os.dup2(nowhere, descriptor)


def _fail(message: str, code: ExitCode) -> int:
    click.echo(f"gretrace: {message}", err=True)
    return code
