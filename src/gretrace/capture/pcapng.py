# SPDX-License-Identifier: GPL-2.0-only
"""The format pcapng (draft-ietf-opsawg-pcapng): sections, interfaces, packets, all as blocks."""

import os
import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Literal

from dpkt import pcapng

from gretrace.capture.links import LINKS, Frame, Interface
from gretrace.capture.source import Source

SECTION = b"\x0a\x0d\x0d\x0a"
INTERFACE_HEADER = 16
SIMPLE_PACKET_HEADER = 12
PACKET_HEADER = 28
INTERFACE_OPTIONS = (
    pcapng.PCAPNG_OPT_IF_NAME,
    pcapng.PCAPNG_OPT_IF_TSRESOL,
    pcapng.PCAPNG_OPT_IF_TSOFFSET,
)
# So many interfaces a section may have, so many options a block that are looked at, and so many
# bytes a name.
INTERFACES, OPTIONS, LONGEST_NAME = 1 << 14, 256, 255
EPB_FLAGS = 2  # an option of the enhanced packet block, whose lowest two bits are the direction


@dataclass(slots=True)
class _Section:
    """A section of pcapng: all its numbers are in one byte order."""

    order: Literal["big", "little"] = "big"
    interfaces: list[Interface] = field(default_factory=list)

    def number(self, data: bytes) -> int:
        return int.from_bytes(data, self.order)

    def unpack(self, fields: str, data: bytes, start: int) -> tuple[int, ...]:
        """Read numbers, as the module struct calls them; struct.error where there are too few."""
        return struct.unpack_from((">" if self.order == "big" else "<") + fields, data, start)


def read_pcapng(capture: Source) -> Iterator[Frame]:
    """Yield the packets of a capture of which the first four bytes, SECTION, were read."""
    section = _Section()
    start = SECTION + capture.need(4)
    while start:
        if start[:4] == SECTION:
            start += capture.need(4)
            magic = int.from_bytes(start[8:], "big")
            if magic not in (pcapng.BYTE_ORDER_MAGIC, pcapng.BYTE_ORDER_MAGIC_LE):
                capture.fail("is damaged")
            section = _Section("big" if magic == pcapng.BYTE_ORDER_MAGIC else "little")
        length = section.number(start[4:8])
        if length < len(start) + 4:
            capture.fail("is damaged")
        block = start + capture.need(length - len(start))
        try:
            frame = _read_block(capture, section, block)
        except (struct.error, ValueError, IndexError):
            if section.number(start[:4]) == pcapng.PCAPNG_BT_IDB:
                # Interfaces are known by their place among all.
                capture.fail("is damaged")
            # The next block begins where this one says that it ends.
            capture.complain("has damaged blocks")
            frame = None
        if frame:
            yield frame
        start = capture.take(8)
        if 0 < len(start) < 8:
            capture.fail("ends in the middle of a record")


def _read_block(capture: Source, section: _Section, block: bytes) -> Frame | None:
    """Read a block; raises ValueError, IndexError or struct.error where it is damaged."""
    kind = section.number(block[:4])
    if kind == pcapng.PCAPNG_BT_IDB:
        if len(section.interfaces) >= INTERFACES:
            capture.fail("has more interfaces than can be")
        section.interfaces.append(_interface(section, block))
        return None
    if kind in (pcapng.PCAPNG_BT_EPB, pcapng.PCAPNG_BT_PB):
        number, high, low, size, length = section.unpack("IIIII", block, 8)
        if kind == pcapng.PCAPNG_BT_PB:
            number = section.unpack("H", block, 8)[0]
        end = PACKET_HEADER + size
        if end > len(block) - 4:
            raise ValueError("a packet is longer than its block")
        data, ticks = block[PACKET_HEADER:end], high << 32 | low
        options = _options(section, block, end + -size % 4, (EPB_FLAGS,))
        flags = section.number(options.get(EPB_FLAGS, b"")[:4])
    elif kind == pcapng.PCAPNG_BT_SPB:
        length = section.number(block[8:SIMPLE_PACKET_HEADER])
        number, data, ticks, flags = 0, block[SIMPLE_PACKET_HEADER:-4][:length], 0, 0
    else:
        return None
    interface = section.interfaces[number]
    if interface.link_type not in LINKS:
        capture.refuse_link(interface.link_type)
        return None
    return interface.frame(ticks, data, length, flags)


def _interface(section: _Section, block: bytes) -> Interface:
    (link_type,) = section.unpack("H", block, 8)
    options = _options(section, block, INTERFACE_HEADER, INTERFACE_OPTIONS)
    name = options.get(pcapng.PCAPNG_OPT_IF_NAME, b"")[:LONGEST_NAME].rstrip(b"\0")
    resolution = options.get(pcapng.PCAPNG_OPT_IF_TSRESOL)
    exponent = resolution[0] if resolution else 6
    return Interface(
        link_type,
        os.fsdecode(name) if name else None,
        2 ** (exponent & 0x7F) if exponent & 0x80 else 10**exponent,
        section.number(options.get(pcapng.PCAPNG_OPT_IF_TSOFFSET, b"")[:8]),
    )


def _options(
    section: _Section, block: bytes, start: int, wanted: Container[int]
) -> dict[int, bytes]:
    """Read those of a block's options that are wanted; of one that comes again, the first.

    dpkt would make an object of each, and a block has room for four million.
    """
    found: dict[int, bytes] = {}
    for _ in range(OPTIONS):
        if start + 4 > len(block) - 4:
            break
        code, size = section.unpack("HH", block, start)
        if code == pcapng.PCAPNG_OPT_ENDOFOPT:
            break
        if code in wanted:
            found.setdefault(code, block[start + 4 : start + 4 + size])
        start += 4 + size + -size % 4
    return found
