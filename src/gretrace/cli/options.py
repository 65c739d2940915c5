# SPDX-License-Identifier: GPL-2.0-only
"""The options that commands share, spelled as the field spells them."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from gretrace.cli import complete
from gretrace.cli.remedies import with_options
from gretrace.engine import ENGINES, said
from gretrace.errors import UsageError
from gretrace.model import Address
from gretrace.render.door import line, put
from gretrace.render.outputs import OUTPUTS, Output
from gretrace.render.peers import VENDORS
from gretrace.wire.keys import parse_key

Command = TypeVar("Command", bound=Callable[..., Any])


def read_key(text: str) -> int | str:
    """Read a GRE key in any spelling of iproute2, or "none" for packets without a key."""
    if text == "none":
        return text
    try:
        return parse_key(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def read_address(text: str) -> Address:
    """Read an IPv4 or IPv6 address."""
    try:
        return ip_address(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no IPv4 or IPv6 address") from None


def clear_ready(ready_file: Path | None) -> Path | None:
    """Take away what an earlier run has left, so that it is not taken for this one's."""
    if ready_file:
        try:
            if not ready_file.is_symlink() and ready_file.stat().st_size:
                raise UsageError(
                    f"the ready file {ready_file} is not empty", "give one that nothing is kept in"
                )
            ready_file.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UsageError(
                f"cannot take away the ready file {ready_file} ({error.strerror})",
                "give a path that can be written",
            ) from None
    return ready_file


def options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Join option decorators into one, shown by --help in this order."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


verbose_option = click.option(
    "-v", "--verbose", is_flag=True, help="Say on stderr what the kernel said too."
)

output_options = options(
    click.option(
        *("-o", "--output"),
        type=click.Choice(list(OUTPUTS)),
        default="table",
        show_default=True,
        help="json is one object a line.",
    ),
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        show_default=True,
        help="auto is on a terminal without NO_COLOR.",
    ),
    verbose_option,
)

namespace_option = click.option(
    "--netns",
    metavar="NAME|PID",
    shell_complete=complete.namespaces,
    help="Act in this namespace, not the caller's.",
)

namespace_options = options(
    namespace_option,
    click.option("--all-netns", is_flag=True, help="Watch every network namespace."),
)

filter_options = options(
    click.option(
        "--remote", type=read_address, metavar="ADDRESS", help="Only packets from this address."
    ),
    click.option(
        "--local", type=read_address, metavar="ADDRESS", help="Only packets to this address."
    ),
    click.option(
        "--key", type=read_key, metavar="KEY", help="Only packets with this key; none: with no key."
    ),
    click.option(
        "--iif",
        metavar="DEV",
        shell_complete=complete.devices,
        help="Only packets on this device.",
    ),
)

capacity_option = click.option(
    "--capacity",
    type=click.IntRange(1, 1 << 24),
    default=16384,
    show_default=True,
    metavar="N",
    help="Keep N kinds of packet apart; the rest is counted.",
)

peer_option = click.option(
    "--peer",
    type=click.Choice(list(VENDORS)),
    help="Say what the peer is to change in this vendor's words; json has those of all.",
)

ready_file_option = click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    callback=lambda _context, _option, path: clear_ready(path),
    help="Make this file, empty, once attached.",
)

duration_option = click.option(
    "--duration", type=click.FloatRange(min=0), metavar="SECONDS", help="Then stop."
)

engine_option = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="auto",
    show_default=True,
    envvar="GRETRACE_ENGINE",
    help="core needs the kernel's BTF; bcc does without, and compiles when it starts.",
)

live_options = options(
    duration_option,
    click.option(
        *("-c", "--count"), type=click.IntRange(min=1), metavar="N", help="Stop after N packets."
    ),
    engine_option,
    ready_file_option,
)


@dataclass(frozen=True, slots=True)
class Voice:
    """Where data and remarks go: data to stdout, everything else to stderr."""

    verbose: bool

    def note(self, said: str) -> None:
        """Say something about the run itself."""
        put(sys.stderr, line(f"gretrace: {with_options(said)}"))

    def detail(self) -> None:
        """Repeat what libbpf and the kernel said, if the user wants to know."""
        if self.verbose:
            put(sys.stderr, *map(line, said()))


def open_output(kind: str, color: str, stream: TextIO | None = None) -> Output:
    """Make the output that -o and --color ask for."""
    stream = stream or sys.stdout
    width = shutil.get_terminal_size().columns if stream.isatty() else None
    return OUTPUTS[kind](stream, color=wants_color(color, stream), width=width)


def wants_color(color: str, stream: TextIO) -> bool:
    """Decide what --color means for a stream."""
    if color == "auto":
        return stream.isatty() and not os.environ.get("NO_COLOR")
    return color == "always"


def announce_ready(voice: Voice, ready_file: Path | None) -> None:
    """Tell people and scripts that nothing will be missed from here on."""
    if ready_file:
        try:
            # Whoever has put something there meanwhile, be it a link, gets nothing written.
            os.close(
                os.open(ready_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            )
        except OSError as error:
            raise UsageError(
                f"cannot make the ready file {ready_file} ({error.strerror})",
                "give a path that can be written, where nobody else writes",
            ) from None
    voice.note("ready")
