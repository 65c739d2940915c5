# SPDX-License-Identifier: GPL-2.0-only
"""Questions to the kernel by netlink, and its answers message by message."""

import os
import socket
from collections.abc import Iterator
from struct import Struct
from typing import Self

from gretrace.host.framing import MESSAGE, messages

# uapi/linux/netlink.h
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x10, 0x300
# netlink_recvmsg() gives at most 32 KiB of a dump at once.
BUFFER = 1 << 16
_ERROR = Struct("=i")


def refusal(message: bytes) -> OSError:
    """Return what a message of type NLMSG_ERROR says."""
    code = -_ERROR.unpack_from(message.ljust(_ERROR.size, b"\0"))[0]
    return OSError(code, os.strerror(code))


class Asking:
    """A socket that asks, in the namespace that its maker was in; a block closes it."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self.socket.bind((0, 0))
        self._sequence = 0

    def get(self, kind: int, body: bytes) -> tuple[int, bytes]:
        """Ask for one thing; returns type and body of the message that answers."""
        answer, _, message = next(self._ask(kind, body, NLM_F_REQUEST))
        return answer, message

    def dump(self, kind: int, body: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Ask for all; yields type, flags and body of each message.

        The last of them is of type NLMSG_DONE or NLMSG_ERROR.
        """
        for answer in self._ask(kind, body, NLM_F_REQUEST | NLM_F_DUMP):
            yield answer
            if answer[0] in (NLMSG_DONE, NLMSG_ERROR):
                return

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, kind: int, body: bytes, flags: int) -> Iterator[tuple[int, int, bytes]]:
        self._sequence += 1
        header = MESSAGE.pack(MESSAGE.size + len(body), kind, flags, self._sequence, 0)
        self.socket.send(header + body)
        while True:
            for answer, told, sequence, message in messages(self.socket.recv(BUFFER)):
                # Else it is what was left of an answer that nobody waited for.
                if sequence == self._sequence:
                    yield answer, told, message
