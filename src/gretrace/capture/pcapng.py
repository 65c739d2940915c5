"""The format pcapng (draft-ietf-opsawg-pcapng): sections, interfaces, packets, all as blocks."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from dpkt import Error, pcapng

from gretrace.capture.links import LINKS, Frame, Interface
from gretrace.capture.source import Source

SECTION = b"\x0a\x0d\x0d\x0a"
SIMPLE_PACKET_HEADER = 12
EPB_FLAGS = 2  # an option of the enhanced packet block, whose lowest two bits are the direction


@dataclass(slots=True)
class _Section:
    """A section of pcapng: all its numbers are in one byte order."""

    order: Literal["big", "little"] = "big"
    interfaces: list[Interface] = field(default_factory=list)

    def number(self, data: bytes) -> int:
        return int.from_bytes(data, self.order)


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
        except (Error, struct.error, ValueError, IndexError):
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
    kind = section.number(block[:4])
    ending = "LE" if section.order == "little" else ""
    if kind == pcapng.PCAPNG_BT_IDB:
        described = getattr(pcapng, f"InterfaceDescriptionBlock{ending}")(block)
        section.interfaces.append(_interface(section, described))
        return None
    if kind in (pcapng.PCAPNG_BT_EPB, pcapng.PCAPNG_BT_PB):
        name = "EnhancedPacketBlock" if kind == pcapng.PCAPNG_BT_EPB else "PacketBlock"
        packet = getattr(pcapng, f"{name}{ending}")(block)
        if packet.caplen > len(block) - packet.__hdr_len__:
            raise ValueError("a packet is longer than its block")
        number, data, length = packet.iface_id, packet.pkt_data, packet.pkt_len
        ticks = packet.ts_high << 32 | packet.ts_low
        flags = section.number(_option(packet, EPB_FLAGS) or b"")
    elif kind == pcapng.PCAPNG_BT_SPB:
        length = section.number(block[8:SIMPLE_PACKET_HEADER])
        number, data, ticks, flags = 0, block[SIMPLE_PACKET_HEADER:-4][:length], 0, 0
    else:
        return None
    interface = section.interfaces[int(number)]
    if interface.link_type not in LINKS:
        capture.refuse_link(interface.link_type)
        return None
    return interface.frame(ticks, bytes(data), length, flags)


def _interface(section: _Section, described: Any) -> Interface:
    name = _option(described, pcapng.PCAPNG_OPT_IF_NAME)
    resolution = _option(described, pcapng.PCAPNG_OPT_IF_TSRESOL)
    offset = _option(described, pcapng.PCAPNG_OPT_IF_TSOFFSET)
    exponent = resolution[0] if resolution else 6
    return Interface(
        described.linktype,
        os.fsdecode(name.rstrip(b"\0")) if name else None,
        2 ** (exponent & 0x7F) if exponent & 0x80 else 10**exponent,
        section.number(offset) if offset else 0,
    )


def _option(block: Any, code: int) -> bytes | None:
    return next((bytes(option.data) for option in block.opts if option.code == code), None)
