# SPDX-License-Identifier: GPL-2.0-only
"""Keepalives, and what answers them."""

from dataclasses import dataclass

from gretrace.model.packet import Packet


@dataclass(frozen=True, slots=True)
class Responder:
    """The keepalive responder on a tunnel, and what it did so far."""

    hook: str  # tc or xdp
    program_id: int
    answered: int
    refused: dict[str, int]  # packets by reason; reasons that never came are left out
    last_answered_ns: int | None  # CLOCK_REALTIME


@dataclass(frozen=True, slots=True)
class Keepalive:
    """A packet that a responder looked at."""

    tunnel: str
    time_ns: int  # CLOCK_REALTIME
    outcome: str  # answered, passed, or why it was refused
    header: bytes  # as the program saw the packet
    inner: Packet | None  # what the keepalive carries
