# SPDX-License-Identifier: GPL-2.0-only
"""What `import gretrace` offers to other programs; docs/library.md shows it in use.

Nothing here takes signals, prints, or changes the host.
"""

import os
import select
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from ipaddress import ip_address
from typing import Any, TypeAlias

from gretrace.capture import read_capture
from gretrace.engine import drop_reasons, open_drops
from gretrace.engine.wanted import Wanted
from gretrace.errors import GretraceError, PrerequisiteError, UsageError
from gretrace.explain.drops import BURST, TICK, Explainer
from gretrace.explain.reading import Reader, scene_of_tunnels
from gretrace.host.features import require_privilege
from gretrace.host.namespaces import Namespace, find_namespace, own_namespace
from gretrace.host.tables import TunnelTables
from gretrace.host.tunnels import TunnelTable
from gretrace.host.tunnels_file import read_tunnels as read_file
from gretrace.kernel.lookup import Answer, Query
from gretrace.lookups.predict import predict_elsewhere
from gretrace.model import ETH_P_IP, Address, Report, Total, Tunnel
from gretrace.render.lookup import to_record as record_of_answer
from gretrace.render.record import to_record as record_of_report

__all__ = [
    "Answer",
    "GretraceError",
    "PrerequisiteError",
    "Report",
    "Tunnel",
    "UsageError",
    "explain_capture",
    "follow_drops",
    "live_tunnels",
    "look_up",
    "read_tunnels",
    "to_dict",
]

StrPath: TypeAlias = str | os.PathLike[str]


def read_tunnels(path: StrPath) -> list[Tunnel]:
    """Read tunnels from a file: `gretrace tunnels -o json` or `ip -d -j link show`.

    Raises UsageError when it cannot be read, or says anything else than tunnels.
    """
    return read_file(os.fspath(path))


def live_tunnels(netns: str | None = None) -> list[Tunnel]:
    """Read the tunnels of a network namespace, by name or PID; None is the caller's own.

    Raises UsageError when there is none, PrerequisiteError when it cannot be entered.
    """
    with closing(TunnelTable(_namespace(netns))) as table:
        return list(table.tunnels)


def look_up(
    remote: str | Address,
    local: str | Address,
    tunnels: Sequence[Tunnel],
    *,
    key: int | None = None,
    protocol: int = ETH_P_IP,
    iif: str | None = None,
) -> Answer:
    """Say which tunnel the kernel would choose for a packet from `remote` to `local`.

    `key` is in host byte order, None for a packet without one; `protocol` is the GRE header's,
    an EtherType; `iif` names the device that it comes on. Raises UsageError for what is no
    address, or of two IP versions.
    """
    source, destination = _address(remote), _address(local)
    if source.version != destination.version:
        raise UsageError(f"{remote} and {local} are of two IP versions", "give two of one")
    return predict_elsewhere(tunnels, Query(source, destination, key, protocol), iif)


def explain_capture(path: StrPath, tunnels: Sequence[Tunnel]) -> Iterator[Report]:
    """Say why a host of these tunnels would drop GRE packets of a capture (pcap, pcapng).

    Yields each cause and tuple once, with its count, by the time of its first packet. Raises
    UsageError when the capture cannot be opened; GretraceError, after all that could be read,
    when the rest could not.
    """
    reader = Reader(scene_of_tunnels(tunnels, "the given tunnels"), Wanted())
    failure = None
    try:
        reader.read(read_capture(os.fspath(path)), None)
    except GretraceError as error:
        failure = error
    kept = _Kept()
    reader.finish(kept)
    yield from kept.reports
    if failure:
        raise failure


@contextmanager
def follow_drops(
    netns: str | None = None,
    *,
    remote: str | Address | None = None,
    local: str | Address | None = None,
    key: int | None = None,
    duration: float | None = None,
    capacity: int = 16384,
    engine: str = "auto",
) -> Iterator[Iterator[Report]]:
    """Say why GRE packets of a namespace are dropped, as it happens.

    A context manager: the probe is attached when the block begins and gone when it ends. What
    it gives yields a report when it is new, and again when its count has grown, at most once a
    second; it ends after `duration` seconds, or when the namespace is gone. `capacity` is how
    many kinds of drop the kernel keeps apart; `engine` is auto, core or bcc. The filters are
    those of the command.
    Raises PrerequisiteError where this machine cannot do it, UsageError for a wrong argument.
    """
    namespace = _namespace(netns)
    require_privilege()
    wanted = Wanted(
        remote=_address(remote) if remote else None,
        local=_address(local) if local else None,
        key=key,
        netns=namespace.inode,
    )
    with ExitStack() as stack:
        tables = stack.enter_context(closing(TunnelTables([namespace], find_more=False)))
        tables.open(namespace)
        drops = stack.enter_context(closing(open_drops(wanted.to_record(), capacity, engine)))
        end = None if duration is None else time.monotonic() + duration
        yield _reports(Explainer(drops, tables, wanted, drop_reasons), end)


def to_dict(report: Report | Answer) -> dict[str, Any]:
    """Build what `-o json` prints of a report or of the answer of a lookup: the same keys."""
    return record_of_answer(report) if isinstance(report, Answer) else record_of_report(report)


class _Kept:
    """Keeps the reports that a capture gives."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def show(self, _identity: Hashable, report: Report) -> None:
        self.reports.append(report)

    def finish(self, totals: Iterable[Total], heard: Mapping[str, int]) -> None:
        """There is nothing to add to the reports."""


def _reports(explainer: Explainer, end: float | None) -> Iterator[Report]:
    done = False
    while not done:
        wait = TICK if end is None else min(TICK, max(0.0, end - time.monotonic()))
        ready, _, _ = select.select(explainer.readables(), [], [], wait)
        if ready:
            time.sleep(BURST)  # new kinds come in bursts
        # Asked before the look, so that nothing which came before the end is left out.
        departed = explainer.tables.departed()
        done = (end is not None and time.monotonic() >= end) or explainer.tables.are_all(departed)
        latest = {identity: report for identity, report, _ in explainer.observe()}
        # Before its reports are handed out: the caller may take his time.
        explainer.tables.let_go(departed)
        yield from latest.values()


def _namespace(netns: str | None) -> Namespace:
    return find_namespace(netns) if netns else own_namespace()


def _address(text: str | Address) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise UsageError(f"{text!r} is no IPv4 or IPv6 address", "give one") from None
