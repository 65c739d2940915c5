# SPDX-License-Identifier: GPL-2.0-only
"""`gretrace respond`: answer the keepalives of the peer."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import click

from gretrace.cli.complete import tunnels
from gretrace.cli.manual import NAMESPACES, Documented
from gretrace.cli.options import (
    Voice,
    announce_ready,
    duration_option,
    namespace_option,
    open_output,
    output_options,
    ready_file_option,
)
from gretrace.engine.contract import RESPONDER_RATE, ResponderDialect
from gretrace.errors import UsageError
from gretrace.host.features import require_gre, require_privilege
from gretrace.host.namespaces import entered, find_namespace, own_namespace
from gretrace.host.tunnels import TunnelTable
from gretrace.keepalive import responder
from gretrace.keepalive.respond import Attached, Attendant
from gretrace.keepalive.selection import can_answer
from gretrace.live import Watch
from gretrace.model import Tunnel
from gretrace.render.listing import Listed

DIALECTS = {"nat": ResponderDialect.NAT, "inside": ResponderDialect.INSIDE}


@click.command(
    cls=Documented,
    examples={
        "gretrace respond gre1": "Answer the keepalives on gre1 from now on.",
        "gretrace respond --all --watch": "Stay, and do so on each tunnel that is created.",
        "gretrace respond gre1 --follow": "Show keepalives and answers as they come.",
        "gretrace respond gre1 --off": "Take the responder off.",
        "systemctl enable --now gretrace-respond@gre1": "Do so at each start of the machine.",
    },
    files=NAMESPACES,
)
@click.argument("interfaces", nargs=-1, metavar="IFACE...", shell_complete=tunnels)
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
@click.option(
    "--rate",
    type=click.IntRange(1, 1_000_000),
    default=RESPONDER_RATE,
    show_default=True,
    metavar="N",
    help="Give at most N answers a second on each tunnel.",
)
@click.option("--force", is_flag=True, help="Replace a program of others on the hook.")
@click.option("--watch", is_flag=True, help="Stay, and attach to each tunnel that is created.")
@click.option("--follow", is_flag=True, help="Stay, and show keepalives as they come.")
@duration_option
@ready_file_option
@namespace_option
@output_options
def respond(
    interfaces: tuple[str, ...],
    off: bool,
    every: bool,
    hook: str,
    dialects: tuple[str, ...],
    rate: int,
    force: bool,
    watch: bool,
    follow: bool,
    duration: float | None,
    ready_file: Path | None,
    netns: str | None,
    output: str,
    color: str,
    verbose: bool,
) -> None:
    """Attach a program to each tunnel IFACE that answers the peer's keepalives.

    The program stays when the command ends. Where it stands already, it is told what the
    tunnel looks like now, and stays. With --follow, -v shows every packet that the program
    sees, and its first 32 bytes.
    """
    voice, shown = Voice(verbose), open_output(output, color)
    if bool(interfaces) == every:
        raise UsageError("which tunnel?", "give interfaces, or --all")
    require_privilege()
    require_gre()
    namespace = find_namespace(netns) if netns else own_namespace()
    wanted = ResponderDialect(sum(DIALECTS[name] for name in set(dialects)))
    with closing(TunnelTable(namespace)) as table, entered(namespace):
        attend = Attendant(
            table,
            interfaces,
            every=every,
            hook=hook,
            dialects=wanted,
            rate=rate,
            force=force,
            verbose=follow and verbose,
        )
        if off:
            _detach(voice, attend.tunnels())
            return
        try:
            attached = attend.attach_all(voice.note)
        finally:
            voice.detail()
        _remark(voice, attached, table.tunnels)
        listing = [Listed(a.tunnel, {}, a.responder, a.why) for a in attached]
        if listing or not (watch or follow):
            shown.responders(listing)
        if not watch and not follow:
            return
        with Watch(duration) as until, closing(attend):
            if follow:
                # Before anyone is told that nothing will be missed from here on.
                attend.listen()
            announce_ready(voice, ready_file)
            attend.stay(
                until,
                voice.note,
                shown.keepalives(headers=verbose) if follow else None,
                watch_new=watch,
            )


def _detach(voice: Voice, tunnels: Iterable[Tunnel]) -> None:
    for tunnel in tunnels:
        taken = responder.detach(tunnel.ifindex)
        voice.note(f"{tunnel.name}: {'responder taken off' if taken else 'had no responder'}")


def _remark(voice: Voice, attached: Iterable[Attached], every: Iterable[Tunnel]) -> None:
    """Say what the user may not know of the tunnels that were chosen."""
    real = ", ".join(t.name for t in every if can_answer(t)) or "none"
    for each in attached:
        tunnel = each.tunnel
        if tunnel.fallback:
            voice.note(
                f"{tunnel.name} is the kernel's fallback device, which gets only what no tunnel "
                f"takes; tunnels here: {real}"
            )
        if not tunnel.up:
            voice.note(f"{tunnel.name} is down: it answers once it is up")
        protected = each.protection.describe(tunnel)
        if protected:
            voice.note(protected)
