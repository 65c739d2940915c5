# SPDX-License-Identifier: GPL-2.0-only
"""`gretrace explain-drop`: why are GRE packets dropped, live or in a capture."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from gretrace.cli.explain_capture import explain_capture, read_options
from gretrace.cli.manual import CACHE, NAMESPACES, Documented
from gretrace.cli.options import (
    Voice,
    announce_ready,
    capacity_option,
    filter_options,
    live_options,
    namespace_options,
    open_output,
    output_options,
    peer_option,
)
from gretrace.cli.watched import open_tables, shed_privileges, wanted_packets
from gretrace.engine import drop_reasons, open_drops
from gretrace.errors import ExitCode, UsageError
from gretrace.explain.drops import Explainer, follow
from gretrace.host.features import has_gre, require_privilege
from gretrace.host.firewall import Rulesets
from gretrace.host.others import OtherNamespaces
from gretrace.live import Watch
from gretrace.model import Address
from gretrace.plain import plain

ONLY_LIVE = ("all_netns", "iif", "duration", "engine", "ready_file", "capacity")


@click.command(
    "explain-drop",
    cls=Documented,
    examples={
        "gretrace explain-drop": "Say why GRE packets are dropped, until Ctrl-C.",
        "gretrace explain-drop --netns r1 --remote 20.1.1.2": "Only what comes from one peer, in "
        "a namespace.",
        "gretrace explain-drop --duration 60 -o json": "For a minute, one object a line.",
        "gretrace explain-drop --read gre.pcap --tunnels r1.json": "Why would that host drop what "
        "a capture holds? Needs no root.",
    },
    exits={
        ExitCode.HEALTHY: "No packet was dropped.",
        ExitCode.REJECTS_FOUND: "Packets were dropped.",
    },
    files=CACHE | NAMESPACES,
)
@read_options
@output_options
@namespace_options
@filter_options
@live_options
@capacity_option
@peer_option
@click.pass_context
def explain_drop(
    context: click.Context, /, *, capture: str | None, tunnels: str | None, **given: Any
) -> int:
    """Say why GRE packets are dropped, which tunnel was meant, and the command that helps.

    Runs until Ctrl-C, or to the end of the capture that --read names.
    """
    if capture is None:
        if tunnels is not None:
            raise UsageError("--tunnels needs --read", "add it")
        return _watch(**given)
    for option in context.command.params:
        if (
            option.name in ONLY_LIVE
            and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
        ):
            raise UsageError(f"{option.opts[0]} cannot be given with --read", "drop one")
    return explain_capture(capture=capture, tunnels=tunnels, **given)


def _watch(
    *,
    output: str,
    color: str,
    verbose: bool,
    netns: str | None,
    all_netns: bool,
    remote: Address | None,
    local: Address | None,
    key: int | str | None,
    iif: str | None,
    duration: float | None,
    count: int | None,
    engine: str,
    ready_file: Path | None,
    capacity: int,
    peer: str | None,
) -> int:
    voice = Voice(verbose)
    require_privilege()
    with ExitStack() as stack:
        tables = open_tables(stack, netns, all_netns=all_netns)
        if not has_gre():
            # No reason to refuse: what this kernel does with GRE packets is what is asked.
            voice.note("this kernel has no GRE, so every GRE packet is dropped; see gretrace check")
        wanted = wanted_packets(
            tables, all_netns=all_netns, remote=remote, local=local, key=key, iif=iif
        )
        try:
            drops = stack.enter_context(closing(open_drops(wanted.to_record(), capacity, engine)))
        finally:
            voice.detail()
        watch = Watch(duration)
        rulesets = Rulesets(lambda: watch.overdue)
        others = OtherNamespaces(lambda: watch.overdue)
        explainer = Explainer(drops, tables, wanted, drop_reasons, rulesets, others)
        stack.enter_context(watch)
        announce_ready(voice, ready_file)
        for table in tables.opened():
            for name in table.native_xdp():
                voice.note(f"native XDP on {plain(name)} may drop GRE unseen")
        # The right tunnel may live elsewhere, which is looked for when there is need.
        shed_privileges(enters=True)
        reports = open_output(output, color).reports(peer=peer)
        follow(explainer, watch, reports, limit=count, tell=voice.note)
        for words, packets in explainer.freed.most_common() if verbose else ():
            voice.note(f"{packets} packets were freed by design: {words}")
        found = explainer.total > 0
    return ExitCode.REJECTS_FOUND if found else ExitCode.HEALTHY
