# SPDX-License-Identifier: GPL-2.0-only
"""From a capture to reports of why: the use case behind `explain-drop --read`."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gretrace.capture import Frame
from gretrace.commands import HERE, Netns
from gretrace.engine.wanted import Wanted
from gretrace.errors import Remark, Remedy
from gretrace.explain.drops import HEARD_AT_MOST, Output
from gretrace.explain.faults import Faults
from gretrace.explain.replay import ReplayedHost
from gretrace.explain.tally import Identity, Totals, report_of, tuple_of
from gretrace.host.facts import Host
from gretrace.host.tunnels import TunnelTable
from gretrace.kernel.lookup import Tables
from gretrace.kernel.surroundings import Nowhere, Surroundings
from gretrace.model import Drop, Report, Traffic, Tunnel
from gretrace.verdicts import Case, explain


def _no_traffic(_tunnels: Iterable[Tunnel]) -> Mapping[int, Traffic]:
    return {}


def _no_link(_name: str) -> int | None:
    return None


@dataclass(frozen=True, slots=True)
class Scene:
    """The tunnels that a capture is held against, and what is known of their host."""

    tables: Tables
    netns: int = 0
    namespace: str | None = None
    reached: Netns = HERE
    host: Surroundings = field(default_factory=Nowhere)
    traffic: Callable[[Iterable[Tunnel]], Mapping[int, Traffic]] = _no_traffic
    link_index: Callable[[str], int | None] = _no_link


def scene_of_table(table: TunnelTable) -> Scene:
    """Hold a capture against the tunnels of a namespace of this machine."""
    host, namespace = Host(table), table.namespace
    return Scene(
        table.tables,
        namespace.inode,
        namespace.name,
        namespace.reached,
        host,
        host.traffic,
        table.link_index,
    )


def scene_of_tunnels(tunnels: Sequence[Tunnel], name: str) -> Scene:
    """Hold a capture against tunnels of which only their own description is known."""
    links = {tunnel.link_name: tunnel.link for tunnel in tunnels}
    return Scene(
        Tables(tunnels),
        netns=next((tunnel.netns for tunnel in tunnels), 0),
        namespace=f"of {name}",
        link_index=links.get,
    )


class Reader:
    """Turns the packets of a capture into reports."""

    def __init__(self, scene: Scene, wanted: Wanted) -> None:
        self._scene, self._wanted = scene, wanted
        self._faults = Faults()
        self.replayed = ReplayedHost(
            *(scene.tables, scene.netns, scene.link_index, self._admits),
            lambda address: scene.host.route(address).is_own,
        )

    def read(self, frames: Iterable[Frame], limit: int | None) -> None:
        """Replay packets, up to the end or until `limit` of them were refused."""
        for frame in frames:
            self.replayed.take(frame)
            if limit is not None and self.replayed.refused >= limit:
                return

    def finish(self, output: Output) -> bool:
        """Show why packets were dropped, each cause once; return whether any was."""
        totals = Totals()
        alike: defaultdict[object, list[tuple[Drop, str | None]]] = defaultdict(list)
        for drop, iif in self.replayed.drops():
            # What may become one report, so that of the others none has to be kept.
            alike[drop.place, iif, tuple_of(drop, self._scene.tables)].append((drop, iif))
        found = False
        for drops in sorted(alike.values(), key=_beginning):
            reports: dict[Identity, Report] = {}
            for drop, iif in drops:
                identity, report = self._report(totals, drop, iif)
                reports[identity] = report
            for identity, report in sorted(reports.items(), key=lambda item: item[1].first_ns):
                output.show(identity, report)
                found = True
        output.finish(totals, self._heard())
        return found or self.replayed.let_go > 0

    def _report(self, totals: Totals, drop: Drop, iif: str | None) -> tuple[Identity, Report]:
        # Judged only now: which tunnels work is known from all of the capture.
        verdict = explain(self._case(drop, iif))
        self._faults.note(verdict.faults)
        seen = tuple_of(drop, self._scene.tables)
        told = report_of(drop, verdict, seen, iif, self._scene.namespace)
        identity, report, _ = totals.add(told)
        return identity, report

    def remarks(self) -> Iterable[str]:
        """Tell, in sentences, what the capture does not show."""
        yield from self._faults.sentences()
        seen = self.replayed
        if not seen.packets:
            yield "the capture is empty"
        elif not seen.gre_packets:
            yield f"none of the {seen.packets} packets of the capture is GRE"
        elif not seen.received:
            yield (
                f"none of the {seen.gre_packets} GRE packets of the capture came to the host of "
                "these tunnels"
            )
        if seen.received and not self._scene.tables.tunnels:
            yield Remark("there is no GRE tunnel here", Remedy.OTHER_TUNNELS)
        if seen.cut_off:
            yield (
                f"{seen.cut_off} packets were cut off too early to be judged; "
                "capture more of each (tcpdump -s 256)"
            )
        if seen.let_go:
            yield Remark(
                f"{seen.let_go} dropped packets were of more kinds than are kept apart, and are "
                "counted only here",
                Remedy.FEWER_PACKETS,
            )
        if unknown := seen.unknown_keepalives:
            yield (
                f"{unknown} keepalives seen, but nothing that this host sent: cannot tell whether "
                "they were answered; capture both directions"
            )

    def _admits(self, drop: Drop) -> bool:
        return self._wanted.admits(tuple_of(drop, self._scene.tables))

    def _case(self, drop: Drop, iif: str | None) -> Case:
        scene = self._scene
        case = Case(drop, scene.tables, iif=iif, netns=scene.reached, host=scene.host)
        tunnels = [candidate.tunnel for candidate in case.candidates]
        traffic = {**scene.traffic(tunnels)}
        for tunnel in tunnels:
            # A tunnel that took packets of the capture is neither silent nor out of use.
            if accepted := self.replayed.accepted[tunnel.ifindex]:
                before = traffic.get(tunnel.ifindex) or Traffic(
                    accepted, self.replayed.sent(tunnel)
                )
                traffic[tunnel.ifindex] = replace(before, received_while_watching=accepted)
        return replace(case, traffic=traffic)

    def _heard(self) -> dict[str, int]:
        return {
            tunnel.name: self.replayed.accepted[tunnel.ifindex]
            for tunnel in self._scene.tables.tunnels[:HEARD_AT_MOST]
            if tunnel.up and not tunnel.fallback
        }


def _beginning(drops: Sequence[tuple[Drop, str | None]]) -> int:
    return min(drop.first_ns for drop, _ in drops)
