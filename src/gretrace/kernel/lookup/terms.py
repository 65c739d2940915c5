# SPDX-License-Identifier: GPL-2.0-only
"""What the lookup is asked, and the words in which it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gretrace.model import Address, Tunnel


def stored_key(tunnel: Tunnel) -> int:
    """Return the key that the kernel keeps of a tunnel (parms.i_key), which is 0 for none."""
    return tunnel.stray_ikey if tunnel.ikey is None else tunnel.ikey


@dataclass(frozen=True, slots=True)
class Query:
    """What the kernel looks a tunnel up by.

    The key of an ERSPAN packet is its session (gre_parse_header() of net/ipv4/gre_demux.c);
    one of type I has none.
    """

    remote: Address  # source of the outer header
    local: Address  # its destination
    key: int | None
    protocol: int  # of the GRE header
    link: int | None = None  # ifindex of the device on which the packet came, where it is known


class Pass(StrEnum):
    """The step of the lookup that decided."""

    EXACT = "exact"
    REMOTE = "remote only"
    LOCAL = "local only or multicast"
    KEY = "key only"
    COLLECT_MD = "collect_md"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class Match:
    """The tunnel that takes the packet, and why this one."""

    tunnel: Tunnel
    decided_by: Pass


class Mismatch(StrEnum):
    """What keeps a tunnel from taking a packet."""

    DOWN = "down"
    TYPE = "type"
    KEY = "key"
    LOCAL = "local"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tunnel and what it lacks to take the packet."""

    tunnel: Tunnel
    mismatches: tuple[Mismatch, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One pass over one hash bucket, and the tunnels met there, in the kernel's order."""

    decided_by: Pass
    kind: str  # whose hash table it is; the kernel has one for each kind, but one for all of IPv6
    bucket: int
    met: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Walk:
    """Everything that the kernel compared on its way to the answer."""

    steps: tuple[Step, ...]
    match: Match | None


@dataclass(frozen=True, slots=True)
class Answer:
    """To which tunnel a packet goes, and how far the others are from it."""

    query: Query
    netns: int
    iif: str | None
    flags: tuple[str, ...]
    tunnel: str | None  # None: no tunnel takes it
    fallback: bool  # only the kernel's own device took it
    decided_by: Pass | None
    candidates: tuple[Candidate, ...]
    walk: Callable[[], Walk]  # among thousands of tunnels it is long, and not always asked for
    # What the model says where the kernel said something else; the kernel is right.
    disagreement: str | None = None
    namespace: str | None = None  # the name by which the user knows it; None for the caller's own
