# SPDX-License-Identifier: GPL-2.0-only
"""`gretrace lookup`: which tunnel does the kernel choose, live or for a packet to come."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import click

from gretrace.cli.complete import files
from gretrace.cli.manual import CACHE, NAMESPACES, Documented
from gretrace.cli.options import (
    Voice,
    announce_ready,
    capacity_option,
    filter_options,
    live_options,
    namespace_options,
    open_output,
    options,
    output_options,
    read_address,
)
from gretrace.cli.watched import (
    device_index,
    one_namespace,
    open_tables,
    shed_privileges,
    wanted_packets,
)
from gretrace.engine import LOOKUP_WINDOW, open_lookups
from gretrace.errors import UsageError
from gretrace.host.features import require_gre, require_privilege
from gretrace.host.tunnels import TunnelTable
from gretrace.host.tunnels_file import read_tunnels
from gretrace.kernel.lookup import Answer, Query
from gretrace.live import Watch
from gretrace.lookups.follow import Follower, follow
from gretrace.lookups.predict import predict, predict_elsewhere
from gretrace.model import ETH_P_ERSPAN, ETH_P_ERSPAN2, ETH_P_IP, ETH_P_IPV6, ETH_P_TEB, Address

PROTOCOLS = {
    "ip": ETH_P_IP,
    "ipv6": ETH_P_IPV6,
    "teb": ETH_P_TEB,
    "erspan": ETH_P_ERSPAN,
    "erspan2": ETH_P_ERSPAN2,
    "keepalive": 0,
}
ONLY_LIVE = ("remote", "local", "all_netns", "duration", "count", "ready_file")
ONLY_PREDICTED = ("source", "destination", "protocol", "tunnels")


def _protocol(text: str) -> int:
    try:
        number = PROTOCOLS[text] if text in PROTOCOLS else int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= 0xFFFF:
        raise click.BadParameter(
            f"{text!r} is no GRE protocol: {', '.join(PROTOCOLS)}, or a number up to 0xffff"
        )
    return number


predicted_packet = options(
    click.argument("source", metavar="[REMOTE", type=read_address, required=False),
    click.argument("destination", metavar="LOCAL]", type=read_address, required=False),
    click.option(
        *("--proto", "protocol"),
        type=_protocol,
        metavar="P",
        help=f"GRE protocol of the packet, {', '.join(PROTOCOLS)} or a number; ip unless told.",
    ),
    click.option(
        "--tunnels",
        metavar="FILE",
        shell_complete=files,
        help="Look among the tunnels of a file, the output of `gretrace tunnels -o json` or "
        "`ip -d -j link show`; - is standard input.",
    ),
)


@click.command(
    cls=Documented,
    examples={
        "gretrace lookup 20.1.1.2 20.1.1.1 --key 7": "Which tunnel would take a packet from the "
        "first address to the second, with key 7?",
        "gretrace lookup fd00::2 fd00::1 --tunnels r1.json": "The same on another host, of which "
        "this file holds the tunnels.",
        "gretrace lookup --follow": "Show what the kernel chooses for each packet that comes.",
        "gretrace lookup --follow -v --remote 20.1.1.2": "With every tunnel that it met on the "
        "way, for the packets of one peer.",
    },
    files=CACHE | NAMESPACES,
)
@predicted_packet
@click.option("--follow", "live", is_flag=True, help="Show every lookup of the kernel, live.")
@click.option(
    "--rate",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    metavar="N",
    help="With --follow, show N packets a second and count the rest; 0 shows all.",
)
@output_options
@namespace_options
@filter_options
@live_options
@capacity_option
@click.pass_context
def lookup(context: click.Context, /, *, live: bool, **given: Any) -> None:
    """Tell to which tunnel a packet from REMOTE to LOCAL would go, and why.

    With --follow, show what the kernel decides for each packet; -v shows every tunnel that it
    met on the way, with the hash buckets. Ctrl-C ends with a table.
    """
    excluded = ONLY_PREDICTED if live else ONLY_LIVE
    for name in excluded:
        if given[name] not in (None, False):
            option = next(p for p in context.command.params if p.name == name)
            word = option.opts[0] if option.param_type_name == "option" else "REMOTE LOCAL"
            other = "--remote and --local filter there" if word == "REMOTE LOCAL" else "drop one"
            state = "cannot be given with --follow" if live else "needs --follow"
            raise UsageError(f"{word} {state}", other if live else "add it")
    run = _follow if live else _predict
    run(**given)


def _predict(
    *,
    source: Address | None,
    destination: Address | None,
    protocol: int | None,
    tunnels: str | None,
    key: int | str | None,
    iif: str | None,
    netns: str | None,
    output: str,
    color: str,
    verbose: bool,
    **_live: object,
) -> None:
    if source is None or destination is None:
        raise UsageError("what to look up is missing", "give REMOTE and LOCAL, or --follow")
    if source.version != destination.version:
        raise UsageError(
            f"{source} and {destination} are of two IP versions", "give two addresses of one"
        )
    query = Query(
        source, destination, key if isinstance(key, int) else None, PROTOCOLS["ip"]
        if protocol is None else protocol,
    )  # fmt: skip
    answer = _answer(query, tunnels, iif, netns)
    open_output(output, color).answer(answer, walks=verbose)


def _answer(query: Query, tunnels: str | None, iif: str | None, netns: str | None) -> Answer:
    if tunnels:
        if netns:
            raise UsageError("--tunnels and --netns contradict each other", "give one of them")
        return predict_elsewhere(read_tunnels(tunnels), query, iif)
    with closing(TunnelTable(one_namespace(netns))) as table:
        if iif:
            device_index(table, iif)
        return predict(table, query, iif)


def _follow(
    *,
    rate: int,
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
    **_predicted: object,
) -> None:
    voice = Voice(verbose)
    require_privilege()
    with ExitStack() as stack:
        tables = open_tables(stack, netns, all_netns=all_netns)
        require_gre()
        wanted = wanted_packets(
            tables, all_netns=all_netns, remote=remote, local=local, key=key, iif=iif
        )
        budget = rate and max(1, round(rate * LOOKUP_WINDOW))
        try:
            lookups = stack.enter_context(
                closing(open_lookups(wanted.to_record(), capacity, budget, engine))
            )
        finally:
            voice.detail()
        if not lookups.watches_ipv6:
            voice.note("GRE over IPv6 is not watched: there is no ip6gre_tunnel_lookup() to trace")
        shown = open_output(output, color).lookups(walks=verbose)
        follower = Follower(lookups, tables, shown.prepare)
        watch = stack.enter_context(Watch(duration))
        announce_ready(voice, ready_file)
        shed_privileges(enters=all_netns or netns is not None)
        follow(follower, watch, shown, limit=count, tell=voice.note)
