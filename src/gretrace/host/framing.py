# SPDX-License-Identifier: GPL-2.0-only
"""Netlink's framing: the messages of a datagram, the attributes of a message, and their numbers.

Total: what is cut short, or says of itself that it is shorter than its own header, is the end.
"""

import sys
from collections.abc import Iterator
from struct import Struct

MESSAGE = Struct("=IHHII")  # struct nlmsghdr
ATTRIBUTE = Struct("=HH")  # struct nlattr
NLA_TYPE_MASK = 0x3FFF


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield type, flags, sequence number and body of each message of a datagram."""
    at = 0
    while at + MESSAGE.size <= len(data):
        length, kind, flags, sequence, _ = MESSAGE.unpack_from(data, at)
        if not MESSAGE.size <= length <= len(data) - at:
            return
        yield kind, flags, sequence, data[at + MESSAGE.size : at + length]
        at += (length + 3) & ~3


def attributes_in(data: bytes, start: int = 0) -> dict[int, bytes]:
    """Return the attributes that lie in a message from `start` on, by their type."""
    # Not by entries_in(): a link has forty, of thousands, and pairs of them take a sixth longer.
    unpack, header, end = ATTRIBUTE.unpack_from, ATTRIBUTE.size, len(data)
    found = {}
    while start + header <= end:
        length, kind = unpack(data, start)
        if not header <= length <= end - start:
            break
        found[kind & NLA_TYPE_MASK] = data[start + header : start + length]
        start += (length + 3) & ~3
    return found


def entries_in(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each attribute from `start` on: in a list, many have one type."""
    while start + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, start)
        if not ATTRIBUTE.size <= length <= len(data) - start:
            return
        yield kind & NLA_TYPE_MASK, data[start + ATTRIBUTE.size : start + length]
        start += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute as it stands in a message."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def number_in(value: bytes) -> int:
    """Read a number in the byte order of this machine; 0 where there is none."""
    return int.from_bytes(value, sys.byteorder)


def to_number(number: int) -> bytes:
    """Return a number of 32 bits as an attribute has it."""
    return number.to_bytes(4, sys.byteorder)
