# SPDX-License-Identifier: GPL-2.0-only
"""`gretrace tunnels`: every GRE tunnel, its keys, errors and responder."""

import time
from contextlib import closing

import click

from gretrace.cli.manual import NAMESPACES, Documented
from gretrace.cli.options import Voice, namespace_option, open_output, output_options
from gretrace.host.features import require_privilege
from gretrace.host.namespaces import entered, find_namespace, own_namespace
from gretrace.host.tunnels import TunnelTable
from gretrace.keepalive import responder
from gretrace.render.listing import Listed


@click.command(
    cls=Documented,
    examples={
        "gretrace tunnels": "List the tunnels of this namespace.",
        "gretrace tunnels --netns r1 -o json > r1.json": "Keep them, to ask about that host "
        "elsewhere: gretrace lookup --tunnels r1.json.",
    },
    files=NAMESPACES,
)
@namespace_option
@output_options
def tunnels(netns: str | None, output: str, color: str, verbose: bool) -> None:
    """List every GRE tunnel: ends, keys, state, traffic, errors in words, and responder."""
    voice = Voice(verbose)
    require_privilege()
    namespace = find_namespace(netns) if netns else own_namespace()
    with closing(TunnelTable(namespace)) as table, entered(namespace):
        listing = [
            Listed(tunnel, table.counters(tunnel.ifindex) or {}, responder.read(tunnel.ifindex))
            for tunnel in table.tunnels
        ]
    voice.detail()
    open_output(output, color).tunnels(listing, time.time_ns())
