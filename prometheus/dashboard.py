# SPDX-License-Identifier: GPL-2.0-only
"""Writes a dashboard of Grafana for what `gretrace serve` counts, by Grafana's own library.

usage: python prometheus/dashboard.py > prometheus/gretrace.dashboard.json
"""

import sys
from itertools import count

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableRefresh,
)

SOURCE = DataSourceRef(type_val="prometheus", uid="$source")
TUNNEL = '{instance=~"$instance",namespace=~"$namespace",tunnel=~"$tunnel"}'
HOST = '{instance=~"$instance"}'
CAUSE = '{instance=~"$instance",cause=~"$cause"}'
DROPS_OF_CAUSE = f"rate(gretrace_drops_total{CAUSE}[$__rate_interval])"
DROPS = f"rate(gretrace_drops_total{HOST}[$__rate_interval])"

Panel = stat.Panel | table.Panel | timeseries.Panel


def query(expression: str, legend: str, *, instant: bool = False) -> prometheus.Dataquery:
    """Return a query; `legend` names its series."""
    made = prometheus.Dataquery().expr(expression).legend_format(legend)
    return made.instant().format("table") if instant else made.range()


def number(title: str, expression: str, says: str) -> Panel:
    """Return one large number."""
    panel = stat.Panel().title(title).description(says).span(6).height(4).datasource(SOURCE)
    return panel.with_target(query(expression, "", instant=True).ref_id("A"))


def graph(title: str, unit: str, says: str, *queries: tuple[str, str]) -> Panel:
    """Return lines over time."""
    panel = timeseries.Panel().title(title).description(says).unit(unit).min(0)
    panel = panel.span(12).height(8).datasource(SOURCE)
    for name, (expression, legend) in zip("ABC", queries, strict=False):
        panel = panel.with_target(query(expression, legend).ref_id(name))
    return panel


def rows(title: str, says: str, expression: str) -> Panel:
    """Return a table of what there is now."""
    panel = table.Panel().title(title).description(says).span(12).height(8).datasource(SOURCE)
    return panel.with_target(query(expression, "", instant=True).ref_id("A"))


def variable(name: str, label: str, of: str) -> dashboard.QueryVariable:
    """Return a choice among the values of a label."""
    made = dashboard.QueryVariable(name).label(label).query(f"label_values({of}, {name})")
    made = made.datasource(SOURCE).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    return made.multi(True).include_all(True).all_value(".*")


FLEET = (
    number("routers", f"count(gretrace_build_info{HOST})", "Where gretrace serve answers."),
    number("tunnels up", f"sum(gretrace_tunnel_up{HOST})", "Devices that are up."),
    number("drops a second", f"sum({DROPS})", "GRE packets, of every cause."),
    number(
        "tunnels with drops",
        'count(sum by (instance, namespace, tunnel) (increase(gretrace_drops_total{tunnel!="",'
        'instance=~"$instance"}[5m])) > 0) or vector(0)',
        "Within five minutes.",
    ),
    graph(
        "drops by cause",
        "pps",
        "What each cause means is in docs/causes.md.",
        (f"sum by (cause) ({DROPS}) > 0", "{{cause}}"),
    ),
    rows(
        "tunnels with the most drops",
        "Packets of an hour.",
        "topk(20, sum by (instance, namespace, tunnel, cause) (increase(gretrace_drops_total"
        '{tunnel!="",instance=~"$instance"}[1h])) > 0)',
    ),
)
ONE_TUNNEL = (
    rows("tunnel", "Its ends and keys.", f"gretrace_tunnel_info{TUNNEL}"),
    graph(
        "packets",
        "pps",
        "What the tunnel's device has received and sent.",
        (
            f"rate(gretrace_tunnel_receive_packets_total{TUNNEL}[$__rate_interval])",
            "{{instance}} {{tunnel}} received",
        ),
        (
            f"rate(gretrace_tunnel_transmit_packets_total{TUNNEL}[$__rate_interval])",
            "{{instance}} {{tunnel}} sent",
        ),
    ),
    graph(
        "drops and errors",
        "pps",
        "Drops by cause, and what the device counts as errors.",
        (
            f"sum by (cause) (rate(gretrace_drops_total{TUNNEL}[$__rate_interval])) > 0",
            "{{cause}}",
        ),
        (
            f"sum by (counter) (rate(gretrace_tunnel_errors_total{TUNNEL}[$__rate_interval])) > 0",
            "{{counter}}",
        ),
    ),
    graph(
        "silence, and keepalives",
        "short",
        "Seconds since the tunnel was seen to receive; keepalives answered a second.",
        (
            f"time() - gretrace_tunnel_last_received_timestamp_seconds{TUNNEL}",
            "{{instance}} {{tunnel}} silent for",
        ),
        (
            f"rate(gretrace_keepalives_answered_total{TUNNEL}[$__rate_interval])",
            "{{instance}} {{tunnel}} answered",
        ),
    ),
)
ONE_CAUSE = (
    graph(
        "drops of the cause",
        "pps",
        "By router and tunnel; without a tunnel where none is concerned.",
        (
            f"topk(20, sum by (instance, namespace, tunnel) ({DROPS_OF_CAUSE}) > 0)",
            "{{instance}} {{namespace}} {{tunnel}}",
        ),
    ),
    rows(
        "where it was seen",
        "Packets since gretrace began there.",
        f"topk(50, sum by (instance, namespace, tunnel, cause) (gretrace_drops_total{CAUSE}))",
    ),
)
ITSELF = (
    graph(
        "kinds in the kernel's table",
        "percentunit",
        "Of what it has room for; it empties itself at a quarter.",
        (f"gretrace_kinds{HOST} / gretrace_kinds_capacity{HOST}", "{{instance}}"),
    ),
    graph(
        "not explained, not seen",
        "pps",
        "Packets that were counted without a cause, or not at all.",
        (f"rate(gretrace_unexplained_drops_total{HOST}[$__rate_interval])", "{{instance}}"),
        (f"rate(gretrace_unseen_drops_total{HOST}[$__rate_interval])", "{{instance}} unseen"),
    ),
    graph(
        "processor",
        "percentunit",
        "Of one; of that, for verdicts.",
        (f"rate(gretrace_process_cpu_seconds_total{HOST}[$__rate_interval])", "{{instance}}"),
        (
            f"rate(gretrace_judging_seconds_total{HOST}[$__rate_interval])",
            "{{instance}} verdicts",
        ),
    ),
    graph(
        "memory",
        "bytes",
        "Resident.",
        (f"gretrace_process_resident_memory_bytes{HOST}", "{{instance}}"),
    ),
)
ROWS = {
    "Fleet": FLEET,
    "One tunnel": ONE_TUNNEL,
    "One cause": ONE_CAUSE,
    "gretrace itself": ITSELF,
}


def made() -> dashboard.Dashboard:
    """Return the dashboard, still to be built."""
    board = (
        dashboard.Dashboard("GRE tunnels")
        .uid("gretrace")
        .tags(["gre", "gretrace"])
        .refresh("1m")
        .time("now-6h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("source").label("source").type("prometheus"))
        .with_variable(variable("instance", "router", "gretrace_build_info"))
        .with_variable(variable("namespace", "namespace", "gretrace_tunnel_up"))
        .with_variable(variable("tunnel", "tunnel", "gretrace_tunnel_up"))
        .with_variable(variable("cause", "cause", "gretrace_drops_total"))
    )
    numbers = count(1)
    for title, panels in ROWS.items():
        board = board.with_row(dashboard.Row(title).id(next(numbers)))
        for panel in panels:
            board = board.with_panel(panel.id(next(numbers)))
    return board


def text() -> str:
    """Return the file."""
    return JSONEncoder(sort_keys=True, indent=2).encode(made().build()) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
