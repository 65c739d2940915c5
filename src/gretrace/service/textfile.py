# SPDX-License-Identifier: GPL-2.0-only
"""The page as a file for node_exporter's textfile collector: whole at any time, gone at the end."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gretrace.errors import UsageError
from gretrace.plain import plain

# So often it is written, in seconds; Prometheus fetches four times a minute unless told.
PERIOD = 15.0


class Textfile:
    """A file that is replaced as a whole, beside which nothing stays.

    Raises UsageError when it cannot be written. What goes wrong later is kept in `trouble`: a
    disk that is full may have room again.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self.due = clock()
        self.trouble: str | None = None
        if path.suffix != ".prom":
            raise UsageError(
                f"node_exporter would not read {plain(str(path))}", "give a name that ends in .prom"
            )
        try:
            self._make()
            self._fresh.unlink()
        except OSError as error:
            raise UsageError(
                f"cannot write {plain(str(path))} ({error.strerror})",
                "give a path in a directory that can be written",
            ) from None

    @property
    def _fresh(self) -> Path:
        # Of another suffix, so that the collector does not read it before it is whole.
        return self._path.with_name(f".{self._path.name}.{os.getpid()}")

    def put(self, text: bytes) -> None:
        """Replace what it says, for another PERIOD."""
        self.due = self._clock() + PERIOD
        try:
            self._make()
            self._fresh.write_bytes(text)
            self._fresh.replace(self._path)
        except OSError as error:
            self.trouble = f"cannot write {plain(str(self._path))} ({error.strerror})"
            with suppress(OSError):
                self._fresh.unlink()
        else:
            self.trouble = None

    def close(self) -> None:
        """Take the file away: what it says would stand for ever."""
        with suppress(OSError):
            self._path.unlink()

    def _make(self) -> None:
        """Make a file beside it, which is not what somebody else has put there, be it a link."""
        with suppress(FileNotFoundError):
            self._fresh.unlink()
        os.close(os.open(self._fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
