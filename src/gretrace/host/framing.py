# SPDX-License-Identifier: GPL-2.0-only
"""Netlink's framing: the messages of a datagram, and the attributes of a message.

Total: what is cut short, or says of itself that it is shorter than its own header, is the end.
"""

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
    unpack, header, end = ATTRIBUTE.unpack_from, ATTRIBUTE.size, len(data)
    found = {}
    while start + header <= end:
        length, kind = unpack(data, start)
        if not header <= length <= end - start:
            break
        found[kind & NLA_TYPE_MASK] = data[start + header : start + length]
        start += (length + 3) & ~3
    return found
