# SPDX-License-Identifier: GPL-2.0-only
"""`gretrace serve`: stay, and count for Prometheus."""

import re
from contextlib import ExitStack, closing
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

import gretrace
from gretrace.cli.commands import commit
from gretrace.cli.config import read_config, values_now
from gretrace.cli.manual import NAMESPACES, Documented
from gretrace.cli.options import (
    Voice,
    announce_ready,
    capacity_option,
    duration_option,
    engine_option,
    namespace_options,
    ready_file_option,
    verbose_option,
)
from gretrace.cli.watched import one_namespace, open_tables, shed_privileges
from gretrace.engine import drop_reasons, libbpf_version, open_drops
from gretrace.engine.contract import RESPONDER_RATE, ResponderDialect
from gretrace.engine.wanted import Wanted
from gretrace.errors import ExitCode, PrerequisiteError, UsageError
from gretrace.explain.drops import Explainer
from gretrace.host.features import require_gre, require_privilege
from gretrace.host.firewall import Rulesets
from gretrace.host.namespaces import Namespace, all_namespaces, entered
from gretrace.host.others import OtherNamespaces
from gretrace.host.tunnels import TunnelTable
from gretrace.keepalive.respond import Attendant
from gretrace.live import Watch

LISTEN = "127.0.0.1:9947"
# What a reload may change.
OUTLETS = ("listen", "textfile", "journal")


def read_listen(text: str) -> tuple[str, int]:
    """Read an address and a port: 127.0.0.1:9947 or [::1]:9947."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    try:
        if not found:
            raise ValueError
        address, port = str(ip_address(found[1] or found[2])), int(found[3])
        if port >= 1 << 16 or (":" in address) != bool(found[1]):
            raise ValueError
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no address and port such as 127.0.0.1:9947 or [::1]:9947"
        ) from None
    return address, port


def _take_config(context: click.Context, path: Path | None) -> Path | None:
    if path:
        context.default_map = _read(context, path)
    return path


@click.command(
    cls=Documented,
    examples={
        "gretrace serve": "Count drops by cause and tunnel, for Prometheus to fetch from "
        "http://127.0.0.1:9947/metrics.",
        "gretrace serve --all-netns --listen 192.0.2.1:9947": "Of all namespaces, to be fetched "
        "from another host; whoever reaches the address can read it.",
        "gretrace serve --textfile /var/lib/prometheus/node-exporter/gretrace.prom": "For "
        "node_exporter on the same host, without listening.",
    },
    exits={ExitCode.HEALTHY: "It was told to end."},
    files=NAMESPACES
    | {"/etc/gretrace/gretrace.toml": "With what gretrace.service starts it, by --config."},
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    is_eager=True,
    callback=lambda context, _option, path: _take_config(context, path),
    help="Take options from this file (TOML), where they are not given here.",
)
@click.option(
    "--listen",
    type=read_listen,
    metavar="ADDRESS:PORT",
    help=f"Answer GET /metrics here; {LISTEN} unless there is another place.",
)
@click.option(
    "--textfile",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the metrics into this file four times a minute, for node_exporter.",
)
@click.option(
    "--journal", is_flag=True, help="Write a record of the journal as a trouble begins and ends."
)
@click.option(
    "--respond",
    "answers",
    is_flag=True,
    help="Answer keepalives on every tunnel, as gretrace respond --all --watch does.",
)
@namespace_options
@duration_option
@engine_option
@capacity_option
@ready_file_option
@verbose_option
@click.pass_context
def serve(
    context: click.Context,
    /,
    config: Path | None,
    listen: tuple[str, int] | None,
    textfile: Path | None,
    journal: bool,
    answers: bool,
    netns: str | None,
    all_netns: bool,
    duration: float | None,
    engine: str,
    capacity: int,
    ready_file: Path | None,
    verbose: bool,
) -> None:
    """Stay, and count the drops of GRE packets by cause and tunnel, as metrics.

    Beside them stand the tunnels' own counters, the keepalives that were answered, and how
    gretrace itself is. What packets say makes no series: addresses and keys are those of the
    tunnels that are there. Runs until it is told to end, and attaches nothing that stays but the
    responders of --respond.

    SIGHUP reads the file of --config anew: listen, textfile and journal change at once and the
    counts go on; other options take a restart.
    """
    voice = Voice(verbose)
    try:
        from gretrace.service.ledger import Ledger
        from gretrace.service.outlets import Outlets, Settings
        from gretrace.service.places import Places
        from gretrace.service.run import Service
        from gretrace.service.systemd import Manager
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise PrerequisiteError(
            "prometheus_client is missing, which serve needs",
            "install python3-prometheus-client, or with pipx: pipx inject gretrace "
            "prometheus_client",
        ) from None
    if answers and all_netns:
        raise UsageError("--respond answers in one namespace", "give --netns, or neither")
    require_privilege()
    with ExitStack() as stack:
        tables = open_tables(stack, netns, all_netns=all_netns)
        own = one_namespace(netns)
        wanted = Wanted(netns=None if all_netns else own.inode)
        try:
            drops = stack.enter_context(closing(open_drops(wanted.to_record(), capacity, engine)))
        finally:
            voice.detail()
        watch = Watch(duration, reloads=True)
        places = Places(tables)
        ledger = Ledger(places.of)
        explainer = Explainer(
            drops,
            tables,
            wanted,
            drop_reasons,
            Rulesets(lambda: watch.overdue),
            OtherNamespaces(lambda: watch.overdue),
            ledger,
        )
        attendant = _attendant(stack, own) if answers else None
        service = Service(
            explainer,
            drops,
            ledger,
            places,
            all_namespaces if all_netns else lambda: [t.namespace for t in tables.opened()],
            build={
                "version": gretrace.__version__,
                "commit": commit(),
                "libbpf": libbpf_version(),
            },
            capacity=capacity,
            attendant=attendant,
        )
        manager = Manager()
        outlets = stack.enter_context(closing(Outlets(voice.note, manager)))

        def settings() -> Settings:
            told = _read(context, config) if config else {}
            return Settings(**_with_default(values_now(context, OUTLETS, told)))

        given = {"listen": listen, "textfile": textfile, "journal": journal}
        outlets.use(Settings(**_with_default(given)))
        stack.enter_context(watch)
        if attendant:
            with entered(own):
                attendant.attach_all(voice.note)
        # The right tunnel may live elsewhere, which is looked for when there is need.
        shed_privileges(enters=True)
        announce_ready(voice, ready_file)
        manager.tell("READY=1")
        service.stay(watch, outlets, settings)
        manager.tell("STOPPING=1")


def _attendant(stack: ExitStack, namespace: Namespace) -> Attendant:
    """Make what has every tunnel of a namespace answered; the responders stay behind it."""
    require_gre()
    table = stack.enter_context(closing(TunnelTable(namespace)))
    return stack.enter_context(
        closing(
            Attendant(
                table,
                (),
                every=True,
                hook="auto",
                dialects=ResponderDialect(0),
                rate=RESPONDER_RATE,
                force=False,
            )
        )
    )


def _read(context: click.Context, path: Path) -> dict[str, Any]:
    return read_config(path, context.command, without={"config", "help", "ready_file"})


def _with_default(told: dict[str, Any]) -> dict[str, Any]:
    """Listen somewhere, where nothing was asked for."""
    return told if any(told.values()) else {**told, "listen": read_listen(LISTEN)}
