# SPDX-License-Identifier: GPL-2.0-only
"""`gretrace check`: what this machine can do, and what is missing."""

from contextlib import closing

import click

from gretrace.checks import State, run_all
from gretrace.checks.registry import Machine
from gretrace.cli.manual import CACHE, NAMESPACES, Documented
from gretrace.cli.options import Voice, namespace_option, open_output, output_options
from gretrace.cli.watched import one_namespace
from gretrace.errors import ExitCode
from gretrace.host.facts import Host
from gretrace.host.tunnels import TunnelTable


@click.command(
    cls=Documented,
    examples={
        "gretrace check": "Say what this machine can do, and what each tunnel lacks.",
        "gretrace check --netns r1 -o json": "The same of a namespace, one object a line.",
    },
    exits={
        ExitCode.HEALTHY: "Nothing is missing that gretrace needs; there may be warnings.",
        ExitCode.PREREQUISITE_MISSING: "Something is missing that gretrace needs.",
    },
    files=CACHE | NAMESPACES,
)
@namespace_option
@output_options
def check(netns: str | None, output: str, color: str, verbose: bool) -> int:
    """Look at privileges, kernel, libraries and tunnels; say of each what helps.

    Attaches the probes for a moment to see whether they can be.
    """
    with closing(TunnelTable(one_namespace(netns))) as table:
        checks = list(run_all(Machine(table, Host(table))))
    Voice(verbose).detail()
    open_output(output, color).checks(checks)
    lacking = any(made.state is State.MISSING for made in checks)
    return ExitCode.PREREQUISITE_MISSING if lacking else ExitCode.HEALTHY
