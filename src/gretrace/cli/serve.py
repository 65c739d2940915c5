# SPDX-License-Identifier: GPL-2.0-only
"""`gretrace serve`: stay, and count for Prometheus."""

import re
from contextlib import ExitStack, closing
from ipaddress import ip_address
from pathlib import Path

import click

import gretrace
from gretrace.cli.commands import commit
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
from gretrace.engine.wanted import Wanted
from gretrace.errors import ExitCode, PrerequisiteError
from gretrace.explain.drops import Explainer
from gretrace.host.features import require_privilege
from gretrace.host.firewall import Rulesets
from gretrace.host.namespaces import all_namespaces
from gretrace.host.others import OtherNamespaces
from gretrace.live import Watch

LISTEN = "127.0.0.1:9947"


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
    files=NAMESPACES,
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
@namespace_options
@duration_option
@engine_option
@capacity_option
@ready_file_option
@verbose_option
def serve(
    listen: tuple[str, int] | None,
    textfile: Path | None,
    journal: bool,
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
    tunnels that are there. Runs until it is told to end, and attaches nothing that stays.
    """
    voice = Voice(verbose)
    try:
        from gretrace.service.chronicle import Chronicle
        from gretrace.service.http import Server
        from gretrace.service.ledger import Ledger
        from gretrace.service.metrics import CONTENT_TYPE_LATEST
        from gretrace.service.page import Page
        from gretrace.service.places import Places
        from gretrace.service.run import Outlets, Service
        from gretrace.service.systemd import Journal, Manager
        from gretrace.service.textfile import Textfile
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise PrerequisiteError(
            "prometheus_client is missing, which serve needs",
            "install python3-prometheus-client, or with pipx: pipx inject gretrace "
            "prometheus_client",
        ) from None
    require_privilege()
    with ExitStack() as stack:
        tables = open_tables(stack, netns, all_netns=all_netns)
        own = one_namespace(netns)
        wanted = Wanted(netns=None if all_netns else own.inode)
        try:
            drops = stack.enter_context(closing(open_drops(wanted.to_record(), capacity, engine)))
        finally:
            voice.detail()
        watch = Watch(duration)
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
        )
        page = stack.enter_context(closing(Page()))
        file = stack.enter_context(closing(Textfile(textfile))) if textfile else None
        records = stack.enter_context(closing(Chronicle(Journal()))) if journal else None
        stack.enter_context(watch)
        if listen or not (textfile or journal):
            server = Server(listen or read_listen(LISTEN), page.read, CONTENT_TYPE_LATEST)
            stack.enter_context(closing(server))
        # The right tunnel may live elsewhere, which is looked for when there is need.
        shed_privileges(enters=True)
        manager = Manager()
        announce_ready(voice, ready_file)
        manager.tell("READY=1")
        service.stay(watch, Outlets(page, manager, voice.note, file, records))
        manager.tell("STOPPING=1")
