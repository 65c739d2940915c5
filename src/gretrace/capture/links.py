# SPDX-License-Identifier: GPL-2.0-only
"""Where a captured packet's IP header begins, by the kind of link that it was captured on."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

LAST_NS = 2**64 - 1  # in the year 2554, where the kernel's own times end
MICROSECONDS = 10**6

# EtherTypes as on the wire: 802.1Q, 802.1ad and what QinQ was before; IPv4 and IPv6
TAGS = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
IP = (b"\x08\x00", b"\x86\xdd")


class Direction(StrEnum):
    """Where a packet was going, as seen from the host that captured it."""

    IN = "in"
    OUT = "out"
    PAST = "past"  # it was for another host of the same link


@dataclass(frozen=True, slots=True)
class Frame:
    """A captured packet."""

    time_ns: int  # since 1970
    data: bytes = b""  # from the IP header on, as far as it was captured; empty if it is not IP
    length: int = 0  # of the whole IP packet, in bytes
    interface: str | None = None
    direction: Direction | None = None  # None: the capture does not tell


# Where the IP header begins, or None, and the direction.
Begin = Callable[[bytes], tuple[int | None, Direction | None]]


@dataclass(frozen=True, slots=True)
class Interface:
    """What packets were captured on."""

    link_type: int
    name: str | None = None
    resolution: int = MICROSECONDS  # ticks a second
    offset: int = 0  # seconds

    def frame(self, ticks: int, data: bytes, length: int, flags: int = 0) -> Frame:
        """Make what is kept of a packet of `length` bytes; `flags` are pcapng's (epb_flags)."""
        moment = ticks * 10**9 // self.resolution + self.offset * 10**9
        time_ns = min(max(moment, 0), LAST_NS)
        begin, direction = LINKS[self.link_type](data)
        if begin is None:
            return Frame(time_ns, interface=self.name)
        packet, size = _unpad(data[begin:], max(length, len(data)) - begin)
        direction = {1: Direction.IN, 2: Direction.OUT}.get(flags & 3, direction)
        return Frame(time_ns, packet, size, self.name, direction)


def _unpad(data: bytes, length: int) -> tuple[bytes, int]:
    """Cut off what lies behind the IP packet: Ethernet pads short frames."""
    stated = 0
    if data[:1] and data[0] >> 4 == 4:
        stated = int.from_bytes(data[2:4], "big")
    elif len(data) >= 6 and data[4:6] != b"\0\0":
        stated = 40 + int.from_bytes(data[4:6], "big")
    return (data[:stated], stated) if 0 < stated < length else (data, length)


def _behind_tags(data: bytes, type_at: int, payload_at: int) -> int | None:
    while data[type_at : type_at + 2] in TAGS:
        type_at, payload_at = payload_at + 2, payload_at + 4
    return payload_at if data[type_at : type_at + 2] in IP else None


def _at(offset: int, _data: bytes) -> tuple[int | None, Direction | None]:
    return offset, None


def _ethernet(data: bytes) -> tuple[int | None, Direction | None]:
    return _behind_tags(data, 12, 14), None


def _cooked(kind_at: int, type_at: int, size: int, data: bytes) -> tuple[int | None, Direction]:
    # Behind kind_at is what linux/if_packet.h calls PACKET_HOST, .. PACKET_OUTGOING.
    kinds = {3: Direction.PAST, 4: Direction.OUT}
    kind = data[kind_at] if kind_at < len(data) else 0
    return _behind_tags(data, type_at, size), kinds.get(kind, Direction.IN)


# By LINKTYPE_* of https://www.tcpdump.org/linktypes.html
LINKS: dict[int, Begin] = {
    1: _ethernet,
    **dict.fromkeys((0, 108), partial(_at, 4)),  # the loopback of BSD: the family before the packet
    **dict.fromkeys((12, 14, 101, 228, 229), partial(_at, 0)),  # raw IP, by all its names
    113: partial(_cooked, 1, 14, 16),  # Linux, all devices at once
    276: partial(_cooked, 10, 0, 20),
}
