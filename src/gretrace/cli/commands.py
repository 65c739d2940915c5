# SPDX-License-Identifier: GPL-2.0-only
"""The commands of gretrace, each imported when it is called: start-up counts."""

import os
import signal
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

import gretrace
from gretrace.engine import libbpf_version
from gretrace.errors import PrerequisiteError
from gretrace.live import INTERRUPTS

# A command is the function of its name in the module of its name.
COMMANDS = {
    "check": "Say what this machine can do, and what is missing.",
    "explain-drop": "Say why GRE packets are dropped, live.",
    "lookup": "Show which tunnel the kernel chooses, live or for a packet.",
    "respond": "Answer the peer's keepalives.",
    "serve": "Stay, and count drops by cause and tunnel, for Prometheus.",
    "tunnels": "List GRE tunnels, their keys, errors and responders.",
}


class Commands(click.Group):
    """The group of all commands."""

    called: str | None = None  # the command that runs

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import a command; None where there is none of that name."""
        command = load(name) if name in COMMANDS else None
        self.called = name
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            # All is imported, so that Ctrl-C can be answered from here on; see main().
            INTERRUPTS.listen()
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each command does without importing it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def load(name: str) -> click.Command:
    """Import the command of this name."""
    word = name.replace("-", "_")
    command: click.Command = getattr(import_module(f"gretrace.cli.{word}"), word)
    return command


def load_all() -> Sequence[click.Command]:
    """Import every command, for whoever is about to fork."""
    return [load(name) for name in COMMANDS]


def version() -> str:
    """Return what a report of a fault has to name: version, commit, libbpf and kernel."""
    try:
        libbpf = libbpf_version()
    except PrerequisiteError:
        libbpf = "no libbpf"
    release = os.uname().release
    return f"gretrace {gretrace.__version__} ({commit()}), {libbpf}, Linux {release}"


def commit() -> str:
    """Return which commit was built; `git archive` and setup.py write it."""
    text = Path(gretrace.__file__).with_name("commit.txt").read_text().strip()
    return "a checkout" if text.startswith("$") else f"commit {text[:12]}"
