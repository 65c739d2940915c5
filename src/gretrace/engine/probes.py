# SPDX-License-Identifier: GPL-2.0-only
"""The tracing programs and where they are attached: one row each, whichever engine loads them."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gretrace.engine.maps import EventRing


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """A tracepoint of the kernel itself."""

    name: str


@dataclass(frozen=True, slots=True)
class Exit:
    """The return of a function of a module, or of one that is built in."""

    module: str
    function: str
    optional: bool = False  # left out where the module is not loaded


@dataclass(frozen=True, slots=True)
class Probe:
    """An object of bpf/kprobes."""

    stem: str
    what: str  # in words, for errors: "the ... probe"
    table: str  # the map whose size the user chooses
    programs: Mapping[str, Tracepoint | Exit]  # attached in this order

    @property
    def exits(self) -> dict[str, Exit]:
        """Those programs that need a function to be there."""
        return {name: place for name, place in self.programs.items() if isinstance(place, Exit)}


DROPS = Probe("drop", "drop probe", "drops", {"count_drop": Tracepoint("kfree_skb")})

LOOKUPS = Probe(
    "lookup",
    "lookup probe",
    "lookups",
    {
        "count_lookup": Exit("ip_tunnel", "ip_tunnel_lookup"),
        "count_lookup6": Exit("ip6_gre", "ip6gre_tunnel_lookup", optional=True),
        # Last, since without it the others see no packet: all begin at one moment.
        "note_arrival": Exit("gre", "gre_parse_header"),
    },
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a probe is loaded with: its constants by name, and how many kinds it keeps apart."""

    constants: Mapping[str, ctypes.Structure]
    capacity: int


class LoadedProbe(Protocol):
    """The programs of a probe in the kernel; close() takes them out."""

    def has(self, program: str) -> bool:
        """Whether an optional program is among them."""

    def map_fd(self, name: str) -> int:
        """Return the descriptor of a map."""

    def open_ring(self, name: str, room: int) -> EventRing:
        """Open a ring; it is closed with the probe.

        Where each processor has a ring of its own, `room` is its size, in bytes.
        """

    def attach(self) -> None:
        """Attach all; nothing is counted before."""

    def missed(self) -> int:
        """Return how often a program did not run since it was running on that processor."""

    def close(self) -> None:
        """Detach and free everything; a second time it does nothing."""
