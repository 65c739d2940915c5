# SPDX-License-Identifier: GPL-2.0-only
"""The page that is scraped: made by the one thread that reads the kernel, for all who ask.

Whoever asks waits for it; nobody makes it anew more than once a second.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Condition

# Seconds: how long a page serves, and how long somebody waits for one.
FRESH, PATIENCE = 1.0, 9.0


class Page:
    """A text that is made when it is asked for, by another thread than those that ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = Condition()
        self._text: bytes | None = None
        self._number, self._made_at = 0, -FRESH
        self._wanted = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return a descriptor that is readable while somebody waits for a new page."""
        return self._wanted

    def read(self, patience: float = PATIENCE) -> bytes | None:
        """Return a page that is no older than FRESH; None when nobody made one in time."""
        with self._changed:
            if self._clock() - self._made_at < FRESH:
                return self._text
            before = self._number
            os.eventfd_write(self._wanted, 1)
            made = self._changed.wait_for(lambda: self._number != before, patience)
            return self._text if made else None

    def is_wanted(self) -> bool:
        """Whether somebody waits for a new page, which is to be published then."""
        with self._changed, suppress(BlockingIOError):
            os.eventfd_read(self._wanted)
            # Else it was made while they asked, and they have it.
            return self._clock() - self._made_at >= FRESH
        return False

    def publish(self, text: bytes) -> None:
        """Hand a page to all who wait, and to those who come soon."""
        with self._changed:
            self._text, self._made_at = text, self._clock()
            self._number += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let go of the descriptor; nobody may be waiting any more."""
        os.close(self._wanted)
