# SPDX-License-Identifier: GPL-2.0-only
"""What a command's --help and its manual page say beyond its options."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from gretrace.errors import ExitCode

# What every command's code says, unless the command knows better.
EXITS = {
    ExitCode.HEALTHY: "It ran, and found nothing wrong.",
    ExitCode.FAILED: "It failed.",
    ExitCode.USAGE: "It was asked for what cannot be.",
    ExitCode.PREREQUISITE_MISSING: "This machine lacks something that it needs.",
}
ENVIRONMENT = {"NO_COLOR": "Any value turns colours off where --color is auto."}
CACHE = {
    "/var/cache/gretrace": "What bcc read from the headers of a kernel without BTF; "
    "may be deleted at any time."
}
NAMESPACES = {"/run/netns": "The names of network namespaces."}


class Documented(click.Command):
    """A command with examples.

    `examples` maps a command line to what it does, `files` a path to what is in it, and
    `exits` a code to what it means for this command.
    """

    def __init__(
        self,
        *arguments: Any,
        examples: Mapping[str, str],
        exits: Mapping[ExitCode, str] | None = None,
        files: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples
        self.files = files or {}
        self.exits = dict(sorted({**EXITS, **(exits or {})}.items()))

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that it heeds, and what each is for."""
        names = {option.name for option in self.params}
        found = dict(ENVIRONMENT) if "color" in names else {}
        for option in self.params:
            if isinstance(option.envvar, str):
                found[option.envvar] = f"The default of {option.opts[-1]}."
        return found

    def format_epilog(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples and the exit codes below the options."""
        write_rows(formatter, "Examples", list(self.examples.items()))
        codes = [(str(int(code)), meaning) for code, meaning in self.exits.items()]
        write_rows(formatter, "Exit codes", codes)


def write_rows(formatter: click.HelpFormatter, title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Write what is on the left on a line of its own where it is long."""
    with formatter.section(title):
        formatter.write_dl(rows, col_max=20)
