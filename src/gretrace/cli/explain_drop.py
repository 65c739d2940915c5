"""`gretrace explain-drop`: why are GRE packets dropped, live."""

from contextlib import ExitStack, closing
from pathlib import Path

import click

from gretrace.cli.options import (
    Voice,
    announce_ready,
    filter_options,
    live_options,
    namespace_options,
    open_output,
    output_options,
)
from gretrace.engine import drop_reasons, open_drops
from gretrace.errors import ExitCode, UsageError
from gretrace.explain import Explainer, follow
from gretrace.features import require_gre, require_privilege
from gretrace.live import Watch
from gretrace.model import Address
from gretrace.namespaces import Namespace, all_namespaces, find_namespace, own_namespace
from gretrace.tunnels import TunnelTable, TunnelTables
from gretrace.wanted import Wanted


@click.command("explain-drop", short_help="Say why GRE packets are dropped, live.")
@output_options
@namespace_options
@filter_options
@live_options
@click.option(
    "--capacity",
    type=click.IntRange(min=1),
    default=16384,
    show_default=True,
    metavar="N",
    help="Keep N kinds of drop apart; the rest is counted.",
)
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
    namespaces = _namespaces(netns, all_netns=all_netns)
    require_gre()
    with ExitStack() as stack:
        tables = stack.enter_context(closing(TunnelTables(namespaces, find_more=all_netns)))
        # Before anything is judged: a verdict asks what a tunnel has received since.
        table = None if all_netns else tables.open(namespaces[0])
        wanted = Wanted(
            remote=remote,
            local=local,
            key=key if isinstance(key, int) else None,
            no_key=key == "none",
            ifindex=_ifindex(table, iif) if iif else None,
            netns=table.namespace.inode if table else None,
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


def _namespaces(name: str | None, *, all_netns: bool) -> list[Namespace]:
    if name and all_netns:
        raise UsageError("--netns and --all-netns contradict each other", "give one of them")
    if all_netns:
        return all_namespaces()
    return [find_namespace(name) if name else own_namespace()]


def _ifindex(table: TunnelTable | None, name: str) -> int:
    if table is None:
        raise UsageError("--iif needs one namespace", "give --netns instead of --all-netns")
    ifindex = table.link_index(name)
    if ifindex is None:
        raise UsageError(
            f"there is no interface {name!r} here", "see `ip link` for those there are"
        )
    return ifindex
