# SPDX-License-Identifier: GPL-2.0-only
"""Writes Prometheus' rules for what `gretrace serve` counts, from the registry of causes.

usage: python prometheus/rules.py > prometheus/gretrace.rules.yml
"""

import json
import sys
from collections.abc import Iterator, Mapping

from gretrace.verdicts import CAUSES, Cause
from gretrace.verdicts.doubts import DOUBTS

HEAD = """\
# Rules for `gretrace serve`, written by prometheus/rules.py from the causes that there are.
# A series that begins above nought has no increase(), so that each alert of a drop asks for new
# series, too.
groups:
"""
PAGE = "Run `gretrace explain-drop` there: it prints the packet, what was seen, and the command."
WHERE = (
    "{{ $labels.tunnel }}{{ with $labels.namespace }} in {{ . }}{{ end }} on {{ $labels.instance }}"
)

# What keeps the number of series small where thousands of routers are watched.
RECORDED = {
    "cause:gretrace_drops:rate5m": "sum by (cause) (rate(gretrace_drops_total[5m]))",
    "instance_cause:gretrace_drops:rate5m": (
        "sum by (instance, cause) (rate(gretrace_drops_total[5m]))"
    ),
    "instance:gretrace_tunnels:up": "sum by (instance) (gretrace_tunnel_up)",
    "instance:gretrace_tunnels:count": "count by (instance) (gretrace_tunnel_up)",
}


def grown(series: str) -> str:
    """Return what holds where a counter has grown within five minutes, or is new."""
    return f"increase({series}[5m]) > 0 or ({series} > 0 unless {series} offset 5m)"


def alert(
    name: str, expression: str, severity: str, says: Mapping[str, str], wait: str = "0s"
) -> Iterator[str]:
    """Yield the lines of an alert; strings of JSON are such of YAML, too."""
    yield f"  - alert: {name}"
    yield f"    expr: {json.dumps(expression)}"
    yield f"    for: {wait}"
    yield f"    labels: {{severity: {severity}}}"
    yield "    annotations:"
    yield from (f"      {key}: {json.dumps(text)}" for key, text in says.items())


def name_of(cause: Cause) -> str:
    """Return the alert of a cause: GreKeyMismatch."""
    return "Gre" + "".join(word.capitalize() for word in cause.name.split("-"))


def of_cause(cause: Cause) -> Iterator[str]:
    """Yield the alert of packets that a cause drops at a tunnel."""
    sure, unknown = DOUBTS[cause.name]
    told = " ".join((cause.recognise.__doc__ or "").split())
    yield from alert(
        name_of(cause),
        grown(f'gretrace_drops_total{{cause="{cause.name}",tunnel!=""}}'),
        "warning",
        {
            "summary": f"GRE packets are dropped at {WHERE}: {cause.meaning}",
            "description": f"{told} How sure: {sure}. What gretrace cannot know: {unknown}.",
            "runbook": PAGE,
        },
    )


def of_tunnels() -> Iterator[str]:
    """Yield the alerts of how tunnels are."""
    yield from alert(
        "GreDroppedWithoutTunnel",
        grown('gretrace_drops_total{tunnel=""}'),
        "info",
        {
            "summary": "GRE packets that concern no tunnel are dropped on {{ $labels.instance }}: "
            "{{ $labels.cause }}",
            "runbook": PAGE,
        },
        "10m",
    )
    yield from alert(
        "GreTunnelSilent",
        "gretrace_tunnel_up == 1 and increase(gretrace_tunnel_receive_packets_total[15m]) == 0 "
        "and increase(gretrace_tunnel_transmit_packets_total[15m]) > 0",
        "warning",
        {
            "summary": f"{WHERE} sends and has received nothing for a quarter of an hour",
            "runbook": "See whether drops of its packets are told; if not, they do not arrive: "
            "ask the path and the peer.",
        },
        "5m",
    )
    yield from alert(
        "GreDeviceDown",
        "gretrace_tunnel_up == 0",
        "info",
        {
            "summary": f"{WHERE} is down",
            "runbook": "ip link set dev TUNNEL up, if it is meant to be.",
        },
        "15m",
    )
    yield from alert(
        "GreKeepalivesLimited",
        grown('gretrace_keepalives_refused_total{reason="limited"}'),
        "warning",
        {
            "summary": f"More keepalives than the responder may answer come to {WHERE}",
            "runbook": "See who sends them; the rate is given by `gretrace respond --rate`.",
        },
    )


def of_gretrace() -> Iterator[str]:
    """Yield the alerts of gretrace itself."""
    host = "on {{ $labels.instance }}"
    yield from alert(
        "GretraceBlind",
        f"{grown('gretrace_unseen_drops_total')} or {grown('gretrace_unexplained_drops_total')}",
        "warning",
        {
            "summary": f"gretrace does not explain all drops {host}",
            "runbook": "There were more kinds of drop at once than it has room for: give it a "
            "larger --capacity, or see who sends so many.",
        },
    )
    yield from alert(
        "GretraceBehind",
        "time() - gretrace_exposition_timestamp_seconds > 300",
        "warning",
        {
            "summary": f"What gretrace tells {host} is five minutes old",
            "runbook": "It has ended, or hangs: systemctl status gretrace. Its textfile stays "
            "where it was killed.",
        },
    )
    yield from alert(
        "GretraceFault",
        grown("gretrace_faults_total"),
        "info",
        {
            "summary": f"A verdict of gretrace failed {host}",
            "runbook": "It is a bug, which its log names: journalctl -u gretrace. Report it.",
        },
    )


def rules() -> str:
    """Return the file."""
    lines = ["- name: gretrace-recorded", "  rules:"]
    for name, expression in RECORDED.items():
        lines += [f"  - record: {name}", f"    expr: {json.dumps(expression)}"]
    lines += ["- name: gretrace-causes", "  rules:"]
    for cause in sorted(CAUSES, key=lambda cause: (cause.last_resort, cause.name)):
        lines += of_cause(cause)
    lines += ["- name: gretrace-tunnels", "  rules:", *of_tunnels()]
    lines += ["- name: gretrace-itself", "  rules:", *of_gretrace()]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(rules())
