# SPDX-License-Identifier: GPL-2.0-only
"""Captures as bytes, in every format that is read."""

import struct

ETHERNET, RAW, SLL, SLL2 = 1, 101, 113, 276
SECOND = 10**9
ETHER_TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
TO_US, TO_OTHERS, FROM_US = 0, 3, 4  # PACKET_* of linux/if_packet.h


def ethernet(packet, *tags):
    """An Ethernet frame, padded to the least size; `tags` are EtherTypes of VLAN tags."""
    frame = b"\x02" * 12 + b"".join(tag.to_bytes(2, "big") + b"\x00\x05" for tag in tags)
    return (frame + ETHER_TYPES[packet[0] >> 4] + packet).ljust(60, b"\0")


def sll(packet, kind=TO_US):
    """A packet of Linux' cooked capture, as of any device."""
    return struct.pack(">HHH8s", kind, 1, 6, b"") + ETHER_TYPES[packet[0] >> 4] + packet


def sll2(packet, kind=TO_US):
    """The same in its second version."""
    head = struct.pack(">HiHBB8s", 0, 2, 1, kind, 6, b"")
    return ETHER_TYPES[packet[0] >> 4] + head + packet


def pcap(*frames, order="<", nano=False, link=RAW):
    """A pcap file; a frame is its time in nanoseconds, its bytes and, if cut off, its length."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, link)
    for time_ns, frame, *length in frames:
        fraction = time_ns % SECOND // (1 if nano else 1000)
        sizes = len(frame), *(length or [len(frame)])
        data += struct.pack(f"{order}IIII", time_ns // SECOND, fraction, *sizes) + frame
    return data


class Pcapng:
    """A pcapng file, block by block."""

    def __init__(self, order="<"):
        self.order = order
        self.data = self.block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))

    def block(self, kind, body, **options):
        numbered = {"comment": 1, "flags": 2, "name": 2, "resolution": 9, "offset": 14}
        for name, value in options.items():
            body += struct.pack(f"{self.order}HH", numbered[name], len(value)) + _padded(value)
        body += struct.pack(f"{self.order}HH", 0, 0) if options else b""
        size = struct.pack(f"{self.order}I", len(body) + 12)
        return struct.pack(f"{self.order}I", kind) + size + body + size

    def interface(self, link=ETHERNET, **options):
        """Add an interface."""
        self.data += self.block(1, struct.pack(f"{self.order}HHI", link, 0, 0), **options)
        return self

    def packet(self, ticks, frame, *, interface=0, length=None, **options):
        """Add an enhanced packet block."""
        sizes = len(frame), len(frame) if length is None else length
        head = struct.pack(f"{self.order}IIIII", interface, ticks >> 32, ticks % 2**32, *sizes)
        self.data += self.block(6, head + _padded(frame), **options)
        return self

    def simple_packet(self, frame):
        """Add a packet without time or interface."""
        body = struct.pack(f"{self.order}I", len(frame)) + _padded(frame)
        self.data += self.block(3, body)
        return self


def _padded(data):
    return data + bytes(-len(data) % 4)
