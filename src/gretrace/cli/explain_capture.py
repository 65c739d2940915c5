# SPDX-License-Identifier: GPL-2.0-only
"""`gretrace explain-drop --read`: why would GRE packets be dropped that a capture holds."""

from contextlib import ExitStack, closing

import click

from gretrace.capture import read_capture
from gretrace.cli.complete import files
from gretrace.cli.options import Voice, open_output, options
from gretrace.cli.watched import one_namespace
from gretrace.engine.wanted import Wanted
from gretrace.errors import ExitCode, GretraceError, UsageError
from gretrace.explain.reading import Reader, Scene, scene_of_table, scene_of_tunnels
from gretrace.host.tunnels import TunnelTable
from gretrace.host.tunnels_file import STDIN, read_tunnels
from gretrace.model import Address

read_options = options(
    click.option(
        *("--read", "capture"),
        metavar="FILE",
        shell_complete=files,
        help="Judge the packets of a capture (pcap, pcapng) instead; - is standard input.",
    ),
    click.option(
        "--tunnels",
        metavar="FILE",
        shell_complete=files,
        help="With --read: against the tunnels of a file, the output of "
        "`gretrace tunnels -o json` or `ip -d -j link show`; needs no root.",
    ),
)


def explain_capture(
    *,
    capture: str,
    tunnels: str | None,
    output: str,
    color: str,
    verbose: bool,
    netns: str | None,
    remote: Address | None,
    local: Address | None,
    key: int | str | None,
    count: int | None,
    peer: str | None,
    **_live: object,
) -> int:
    """Explain a capture; all that could be read is shown before an error about the rest."""
    voice = Voice(verbose)
    wanted = Wanted(
        remote=remote,
        local=local,
        key=key if isinstance(key, int) else None,
        no_key=key == "none",
    )
    with ExitStack() as stack:
        reader = Reader(_scene(stack, capture, tunnels, netns), wanted)
        failure = None
        try:
            reader.read(read_capture(capture), count)
        except GretraceError as error:
            failure = error
        except KeyboardInterrupt:
            voice.note(f"interrupted; {reader.replayed.packets} packets were read until then")
        if failure and not reader.replayed.packets:
            raise failure
        reports = open_output(output, color).reports(peer=peer)
        found = reader.replayed.received > 0 and reader.finish(reports)
        for remark in reader.remarks():
            voice.note(remark)
        if failure:
            raise failure
    return ExitCode.REJECTS_FOUND if found else ExitCode.HEALTHY


def _scene(stack: ExitStack, capture: str, tunnels: str | None, netns: str | None) -> Scene:
    if tunnels is None:
        return scene_of_table(stack.enter_context(closing(TunnelTable(one_namespace(netns)))))
    if netns:
        raise UsageError("--tunnels and --netns contradict each other", "give one of them")
    if capture == tunnels == STDIN:
        raise UsageError("--read and --tunnels are both standard input", "give one as a file")
    return scene_of_tunnels(
        read_tunnels(tunnels), "standard input" if tunnels == STDIN else tunnels
    )
