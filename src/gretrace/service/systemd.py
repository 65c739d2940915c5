# SPDX-License-Identifier: GPL-2.0-only
"""What systemd is told, by its own sockets: records of the journal, and that all is well."""

import os
import socket
import struct
import time
from collections.abc import Mapping
from contextlib import suppress

JOURNAL = "/run/systemd/journal/socket"
# The kernel keeps ten datagrams for a reader; a journal that is only behind has read some by then.
SECONDS = 0.02
# A field's longest value, in bytes: far below what a datagram may have.
LONGEST = 4096


class Journal:
    """The journal, by its native protocol (systemd's JOURNAL_NATIVE_PROTOCOL.md).

    Nothing waits for it longer than SECONDS; a record that it does not take is counted as lost.
    """

    def __init__(self, path: str = JOURNAL) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(SECONDS)
        self.lost = 0

    def send(self, fields: Mapping[str, str]) -> bool:
        """Hand over a record; return whether the journal took it."""
        record = b"".join(_field(name, value) for name, value in fields.items())
        try:
            self._socket.sendto(record, self._path)
        except OSError:
            self.lost += 1
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")[:LONGEST]
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"


class Manager:
    """The service manager that has started us, if it wants to hear (sd_notify(3))."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # "@" stands for the first byte of an abstract address.
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._period: float | None = None
        if environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            with suppress(ValueError):
                # Twice as often as it wants to.
                self._period = int(environment.get("WATCHDOG_USEC", "")) / 2e6
        self._due = 0.0

    def tell(self, *said: str) -> None:
        """Say `READY=1` or the like; nobody waits for an answer."""
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as telling:
            telling.sendto("\n".join(said).encode(), self._address)

    def is_well(self) -> None:
        """Say that the service goes on, as often as the manager wants to hear it."""
        now = time.monotonic()
        if self._period is not None and now >= self._due:
            self._due = now + self._period
            self.tell("WATCHDOG=1")
