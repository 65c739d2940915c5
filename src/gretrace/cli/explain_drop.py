"""`gretrace explain-drop`: why are GRE packets dropped, live."""

from contextlib import ExitStack, closing
from pathlib import Path

import click

from gretrace.cli.options import (
    Voice,
    announce_ready,
    capacity_option,
    filter_options,
    live_options,
    namespace_options,
    open_output,
    output_options,
)
from gretrace.cli.watched import open_tables, wanted_packets
from gretrace.engine import drop_reasons, open_drops
from gretrace.errors import ExitCode
from gretrace.explain import Explainer, follow
from gretrace.features import require_gre, require_privilege
from gretrace.live import Watch
from gretrace.model import Address


@click.command("explain-drop", short_help="Say why GRE packets are dropped, live.")
@output_options
@namespace_options
@filter_options
@live_options
@capacity_option
def explain_drop(
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
    engine: str,  # noqa: ARG001 auto and core are the same engine
    ready_file: Path | None,
    capacity: int,
) -> int:
    """Say why GRE packets are dropped, which tunnel was meant, and the command that helps.

    Runs until Ctrl-C. Exits with 3 when packets were dropped, with 0 when none was.
    """
    voice = Voice(verbose)
    require_privilege()
    with ExitStack() as stack:
        tables = open_tables(stack, netns, all_netns=all_netns)
        require_gre()
        wanted = wanted_packets(
            tables, all_netns=all_netns, remote=remote, local=local, key=key, iif=iif
        )
        try:
            drops = stack.enter_context(closing(open_drops(wanted.to_record(), capacity)))
        finally:
            voice.detail()
        explainer = Explainer(drops, tables, wanted, drop_reasons)
        watch = stack.enter_context(Watch(duration))
        announce_ready(voice, ready_file)
        follow(explainer, watch, open_output(output, color), limit=count, tell=voice.note)
        found = explainer.total > 0
    return ExitCode.REJECTS_FOUND if found else ExitCode.HEALTHY
