# SPDX-License-Identifier: GPL-2.0-only
"""Writes the manual pages and the shells' completions, from the commands themselves.

usage: python man/pages.py DIRECTORY

Everything lies below DIRECTORY as it does below /usr: share/man/man8 and so on.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from gretrace import __version__
from gretrace.cli.commands import COMMANDS, load_all
from gretrace.cli.manual import EXITS, Documented
from gretrace.cli.outcome import gretrace

SHELLS = {
    "bash": "share/bash-completion/completions/gretrace",
    "zsh": "share/zsh/site-functions/_gretrace",
    "fish": "share/fish/vendor_completions.d/gretrace.fish",
}

ENDING = r"(?<=^}\n\n)(compdef|if) .*"
REGISTERED = """\
if [[ $funcstack[1] == _gretrace ]]; then
    _gretrace_completion "$@"
else
    compdef _gretrace_completion gretrace
fi
"""


def escape(text: str) -> str:
    """Keep roff from taking text for requests, and its hyphens for those of prose."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return re.sub(r"^\.", r"\\&.", escaped, flags=re.MULTILINE)


def rows(left_and_right: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a list of terms, in bold, and what they mean."""
    for left, right in left_and_right:
        yield from (".TP", f"\\fB{escape(left)}\\fR", escape(right))


def examples(of: Mapping[str, str]) -> Iterator[str]:
    """Yield what each command line is for, and the line below it."""
    for line, what in of.items():
        yield from (".PP", escape(what), ".PP", ".RS 4", ".EX", escape(line), ".EE", ".RE")


def prose(text: str) -> Iterator[str]:
    """Yield the paragraphs of a docstring."""
    for paragraph in text.split("\n\n"):
        yield from (".PP", escape(" ".join(paragraph.split())))


def option_rows(context: click.Context) -> Iterator[str]:
    """Yield the options as --help has them."""
    records = (option.get_help_record(context) for option in context.command.get_params(context))
    return rows(record for record in records if record)


def see_also(names: Iterable[str]) -> str:
    """Return references to other pages of section 8."""
    return ",\n".join(f".BR {escape(name)} (8)" for name in names)


def head(name: str, what: str) -> list[str]:
    """Return how every page begins."""
    title = f'.TH {name.upper()} 8 "" "gretrace {__version__}" "System Administration"'
    plain = what[0].lower() + what[1:].rstrip(".")
    return [title.replace("-", "\\-"), ".SH NAME", f"{escape(name)} \\- {escape(plain)}"]


def group_context() -> click.Context:
    """Return the context that the command line makes for `gretrace` itself."""
    return click.Context(gretrace, info_name="gretrace", **gretrace.context_settings)


def page(command: Documented) -> str:
    """Return the manual page of a command."""
    context = click.Context(command, parent=group_context(), info_name=command.name)
    name = f"gretrace-{command.name}"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = head(name, COMMANDS[command.name or ""])
    lines += [".SH SYNOPSIS", f"\\fB{escape(usage)}\\fR"]
    lines += [".SH EXAMPLES", *examples(command.examples)]
    lines += [".SH DESCRIPTION", *prose(command.help or "")]
    lines += [".SH OPTIONS", *option_rows(context)]
    lines += [".SH EXIT STATUS", *rows((str(int(c)), m) for c, m in command.exits.items())]
    if command.files:
        lines += [".SH FILES", *rows(command.files.items())]
    if command.environment:
        lines += [".SH ENVIRONMENT", *rows(command.environment.items())]
    others = ["gretrace", *(f"gretrace-{other}" for other in COMMANDS if other != command.name)]
    lines += [".SH SEE ALSO", see_also(others)]
    return "\n".join(lines) + "\n"


def main_page() -> str:
    """Return gretrace(8)."""
    context = group_context()
    commands = [command for command in load_all() if isinstance(command, Documented)]
    firsts = dict(next(iter(command.examples.items())) for command in commands)
    lines = head("gretrace", gretrace.help or "")
    lines += [".SH SYNOPSIS", f"\\fBgretrace {escape(gretrace.subcommand_metavar)}\\fR"]
    lines += [".SH EXAMPLES", *examples(firsts)]
    lines += [".SH COMMANDS", *rows((f"gretrace-{n}(8)", what) for n, what in COMMANDS.items())]
    lines += [".SH OPTIONS", *option_rows(context)]
    codes = {**EXITS, 3: "It found something wrong."}
    lines += [".SH EXIT STATUS", *rows((str(int(c)), m) for c, m in sorted(codes.items()))]
    files = {path: what for command in commands for path, what in command.files.items()}
    lines += [".SH FILES", *rows(files.items())]
    names = {name: what for command in commands for name, what in command.environment.items()}
    lines += [".SH ENVIRONMENT", *rows(names.items())]
    lines += [".SH SEE ALSO", see_also(f"gretrace-{name}" for name in COMMANDS) + ","]
    lines += [".BR ip\\-tunnel (8),", ".BR ip\\-link (8)"]
    return "\n".join(lines) + "\n"


def completion(shell: str) -> str:
    """Return what a shell sources to complete the words of gretrace."""
    kind = get_completion_class(shell)
    if kind is None:
        raise SystemExit(f"man/pages.py: click knows no completion for {shell}")
    # source() looks which bash runs here; what is written is for another machine.
    made = kind(gretrace, {}, "gretrace", "_GRETRACE_COMPLETE")
    text = made.source_template % made.source_vars() + "\n"
    if shell == "zsh":
        # Where zsh loads the file at a Tab, it is a function's body. click 8.1.3 only registers
        # another function there, 8.2 does so at the second Tab: that Tab is lost.
        text, count = re.subn(ENDING, REGISTERED, text, flags=re.MULTILINE | re.DOTALL)
        if count != 1:
            raise SystemExit("man/pages.py: click's completion for zsh ends in a new way")
    return text


def pages() -> dict[str, str]:
    """Return the text of every file by its place below /usr."""
    found = {"share/man/man8/gretrace.8": main_page()}
    for command in load_all():
        if not isinstance(command, Documented):
            raise SystemExit(f"man/pages.py: {command.name} has no examples")
        found[f"share/man/man8/gretrace-{command.name}.8"] = page(command)
    return found | {place: completion(shell) for shell, place in SHELLS.items()}


def main() -> None:
    """Write every file."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    for place, text in pages().items():
        path = Path(sys.argv[1], place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
