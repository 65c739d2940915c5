# SPDX-License-Identifier: GPL-2.0-only
"""What was counted as metrics, by prometheus_client, in Prometheus' conventions.

Series are tunnels times causes at most; addresses and keys are those of tunnels that are there,
in gretrace_tunnel_info alone.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest

from gretrace.host.census import Counted
from gretrace.model import Address, Responder, Total
from gretrace.render.listing import ERRORS
from gretrace.service.ledger import Place

__all__ = ["CONTENT_TYPE_LATEST", "Exposition", "State"]

WHERE = ("namespace", "tunnel")
NANOSECONDS = 1e9
# What a tunnel has carried: the metric's name, the kernel's counter, and what it is.
CARRIED = (
    ("receive_packets", "rx_packets", "Packets that the tunnel has received."),
    ("transmit_packets", "tx_packets", "Packets that the tunnel has sent."),
    ("receive_bytes", "rx_bytes", "Bytes that the tunnel has received, without outer headers."),
    ("transmit_bytes", "tx_bytes", "Bytes that the tunnel has sent, without outer headers."),
)


@dataclass(frozen=True, slots=True)
class State:
    """All that is told of at a time."""

    build: Mapping[str, str]
    drops: Iterable[Total]
    apart: Mapping[str, int]  # by cause
    unkept: int  # packets
    unseen: int  # packets
    tunnels: Mapping[Place, Counted]
    left_out: int  # namespaces
    responders: Mapping[Place, Responder] = field(default_factory=dict)
    heard_ns: Mapping[Place, int] = field(default_factory=dict)  # CLOCK_REALTIME
    kinds: int = 0  # in the kernel's table
    capacity: int = 0
    looked: int = 0  # times
    judging: float = 0  # seconds, in all
    faults: int = 0
    unwritten: int = 0  # records of the journal


class Exposition:
    """Writes a state as Prometheus' text, beside what prometheus_client tells of a process."""

    def __init__(self) -> None:
        self._process = ProcessCollector("gretrace", registry=CollectorRegistry())

    def text(self, state: State) -> bytes:
        """Write it; ASCII and UTF-8 alone, as labels are plain."""
        families = [*_drops(state), *_tunnels(state), *_responders(state), *_own(state)]
        return generate_latest(_Collected([*families, *self._process.collect()]))


class _Collected(CollectorRegistry):
    """Families that are there already, in the shape that generate_latest() wants."""

    def __init__(self, families: Iterable[Metric]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _drops(state: State) -> Iterator[Metric]:
    drops = CounterMetricFamily(
        "gretrace_drops",
        "GRE packets that were dropped, by cause; tunnel is empty where none is concerned.",
        labels=("cause", *WHERE),
    )
    for each in state.drops:
        drops.add_metric((each.cause, each.namespace or "", each.tunnel or ""), each.count)
    yield drops
    apart = CounterMetricFamily(
        "gretrace_other_tunnels_drops",
        "GRE packets that were dropped at tunnels that are gone, or more than are kept apart.",
        labels=("cause",),
    )
    for cause, count in state.apart.items():
        apart.add_metric((cause,), count)
    yield apart
    yield CounterMetricFamily(
        "gretrace_unexplained_drops",
        "GRE packets whose drop was counted but not explained: there were too many kinds at once.",
        value=state.unkept,
    )
    yield CounterMetricFamily(
        "gretrace_unseen_drops",
        "GRE packets whose drop may not have been counted: another interrupted the program.",
        value=state.unseen,
    )


def _tunnels(state: State) -> Iterator[Metric]:
    info = InfoMetricFamily("gretrace_tunnel", "The tunnel's configuration.", labels=WHERE)
    up = GaugeMetricFamily("gretrace_tunnel_up", "Whether the tunnel's device is up.", labels=WHERE)
    carried = [
        (CounterMetricFamily(f"gretrace_tunnel_{name}", says, labels=WHERE), counter)
        for name, counter, says in CARRIED
    ]
    errors = CounterMetricFamily(
        "gretrace_tunnel_errors",
        "Packets that the tunnel's device counted as errors, by the kernel's counter.",
        labels=(*WHERE, "counter"),
    )
    for place, each in state.tunnels.items():
        tunnel = each.tunnel
        told = {
            "kind": tunnel.kind,
            "local": _address(tunnel.local),
            "remote": _address(tunnel.remote),
            "ikey": _key(tunnel.ikey),
            "okey": _key(tunnel.okey),
        }
        info.add_metric(place, told)
        up.add_metric(place, tunnel.up)
        for family, counter in carried:
            family.add_metric(place, each.counters.get(counter, 0))
        for counter in ERRORS:
            if count := each.counters.get(counter):
                errors.add_metric((*place, counter), count)
    yield from (info, up, *(family for family, _ in carried), errors)
    heard = GaugeMetricFamily(
        "gretrace_tunnel_last_received_timestamp_seconds",
        "When the tunnel was last seen to have received; none since gretrace began: no sample.",
        labels=WHERE,
    )
    for place, nanoseconds in state.heard_ns.items():
        heard.add_metric(place, nanoseconds / NANOSECONDS)
    yield heard
    yield GaugeMetricFamily(
        "gretrace_namespaces_left_out",
        "Network namespaces whose tunnels are not told: there are too many.",
        value=state.left_out,
    )


def _responders(state: State) -> Iterator[Metric]:
    answered = CounterMetricFamily(
        "gretrace_keepalives_answered", "Keepalives that were answered.", labels=WHERE
    )
    refused = CounterMetricFamily(
        "gretrace_keepalives_refused",
        "Keepalives that were not answered, by reason; limited: over the rate.",
        labels=(*WHERE, "reason"),
    )
    last = GaugeMetricFamily(
        "gretrace_keepalive_last_answered_timestamp_seconds",
        "When a keepalive was last answered.",
        labels=WHERE,
    )
    for place, responder in state.responders.items():
        answered.add_metric(place, responder.answered)
        for reason, count in responder.refused.items():
            refused.add_metric((*place, reason), count)
        if responder.last_answered_ns:
            last.add_metric(place, responder.last_answered_ns / NANOSECONDS)
    yield from (answered, refused, last)


def _own(state: State) -> Iterator[Metric]:
    yield InfoMetricFamily("gretrace_build", "What runs.", value=dict(state.build))
    yield GaugeMetricFamily(
        "gretrace_kinds", "Kinds of drop in the kernel's table at the last look.", state.kinds
    )
    yield GaugeMetricFamily(
        "gretrace_kinds_capacity", "Kinds of drop that the table has room for.", state.capacity
    )
    yield CounterMetricFamily(
        "gretrace_looks", "How often the kernel's table was looked at.", state.looked
    )
    yield CounterMetricFamily(
        "gretrace_judging_seconds", "Time that was spent on verdicts.", state.judging
    )
    yield CounterMetricFamily(
        "gretrace_faults", "Verdicts that failed by a fault of gretrace.", state.faults
    )
    yield CounterMetricFamily(
        "gretrace_unwritten_records",
        "Records that the journal did not take, or that were too many for it.",
        state.unwritten,
    )
    yield GaugeMetricFamily(
        "gretrace_exposition_timestamp_seconds", "When all of this was read.", time.time()
    )


def _address(address: Address | None) -> str:
    return "any" if address is None else str(address)


def _key(key: int | None) -> str:
    return "none" if key is None else str(key)
