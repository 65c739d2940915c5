"""`gretrace respond`: answer the keepalives of the peer."""

from collections.abc import Iterable
from contextlib import closing

import click

from gretrace import responder
from gretrace.cli.options import Voice, namespace_option, output_options
from gretrace.contract import ResponderDialect
from gretrace.errors import UsageError
from gretrace.features import require_gre, require_privilege
from gretrace.model import Tunnel
from gretrace.namespaces import entered, find_namespace, own_namespace
from gretrace.render.listing import Listed, responder_table, to_lines
from gretrace.respond import respond as answer
from gretrace.respond import select
from gretrace.tunnels import TunnelTable

DIALECTS = {"nat": ResponderDialect.NAT, "inside": ResponderDialect.INSIDE}


@click.command(short_help="Answer the peer's keepalives.")
@click.argument("interfaces", nargs=-1, metavar="IFACE...")
@click.option("--off", is_flag=True, help="Take our responder off; others stay.")
@click.option("--all", "every", is_flag=True, help="Every GRE tunnel of the namespace.")
@click.option(
    "--hook",
    type=click.Choice(["auto", "tc", "xdp"]),
    default="auto",
    show_default=True,
    help="auto takes the cheapest that answers here.",
)
@click.option(
    "--dialect",
    "dialects",
    multiple=True,
    type=click.Choice(list(DIALECTS)),
    help="Answer also: nat, a peer that names its private address; inside, one that names the "
    "tunnel's inside addresses.",
)
@click.option("--force", is_flag=True, help="Replace a program of others on the hook.")
@namespace_option
@output_options
def respond(
    interfaces: tuple[str, ...],
    off: bool,
    every: bool,
    hook: str,
    dialects: tuple[str, ...],
    force: bool,
    netns: str | None,
    output: str,
    color: str,
    verbose: bool,
) -> None:
    """Attach a program to each tunnel IFACE that answers the peer's keepalives.

    The program stays when the command ends. Where it stands already, it is told what the
    tunnel looks like now, and stays.
    """
    del color  # there is nothing to colour
    voice = Voice(verbose)
    if bool(interfaces) == every:
        raise UsageError("which tunnel?", "give interfaces, or --all")
    require_privilege()
    require_gre()
    namespace = find_namespace(netns) if netns else own_namespace()
    wanted = ResponderDialect(sum(DIALECTS[name] for name in set(dialects)))
    with closing(TunnelTable(namespace)) as table, entered(namespace):
        tunnels = select(table, interfaces, every=every)
        if off:
            _detach(voice, tunnels)
            return
        try:
            attached = [answer(table, t, hook, wanted, force=force) for t in tunnels]
        finally:
            voice.detail()
        _remark(voice, tunnels, table.tunnels)
    listing = [Listed(a.tunnel, {}, a.responder, a.why) for a in attached]
    click.echo(to_lines(listing) if output == "json" else responder_table(listing))


def _detach(voice: Voice, tunnels: Iterable[Tunnel]) -> None:
    for tunnel in tunnels:
        taken = responder.detach(tunnel.ifindex)
        voice.note(f"{tunnel.name}: {'responder taken off' if taken else 'had no responder'}")


def _remark(voice: Voice, tunnels: Iterable[Tunnel], every: Iterable[Tunnel]) -> None:
    """Say what the user may not know of the tunnels that were chosen."""
    real = ", ".join(t.name for t in every if not t.fallback) or "none"
    for tunnel in tunnels:
        if tunnel.fallback:
            voice.note(
                f"{tunnel.name} is the kernel's fallback device, which gets only what no tunnel "
                f"takes; tunnels here: {real}"
            )
        elif not tunnel.up:
            voice.note(f"{tunnel.name} is down: it answers once it is up")
