"""Waiting for the kernel, the clock and the user at once."""

import selectors
import signal
import socket
import time
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Protocol, Self


class Readable(Protocol):
    """Something with a descriptor to wait for."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Watch:
    """Waits until a bell rings, and knows when it is time to stop.

    Stops at SIGINT, SIGTERM and SIGHUP, or `duration` seconds after it was entered. The signals
    have their old handlers back when the block ends.
    """

    def __init__(self, duration: float | None = None) -> None:
        self._duration = duration
        self._deadline: float | None = None
        self._stopped = False
        self._selector = selectors.DefaultSelector()
        self._old: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._wakeup, self._signalled = socket.socketpair()
        for end in (self._wakeup, self._signalled):
            end.setblocking(False)
        # Without it a signal between the check and select() would wait for the next bell.
        self._old_fd = signal.set_wakeup_fd(self._signalled.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._old[number] = signal.signal(number, self._stop)
        if self._duration is not None:
            self._deadline = time.monotonic() + self._duration
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._old_fd)
        self._selector.close()
        self._wakeup.close()
        self._signalled.close()

    @property
    def stopped(self) -> bool:
        """Whether it is time to end."""
        return self._stopped or (self._deadline is not None and time.monotonic() >= self._deadline)

    def wait(self, bells: Iterable[Readable], timeout: float) -> set[int]:
        """Wait at most `timeout` seconds; return the descriptors of the bells that rang."""
        # Anew each time: a descriptor that was closed may be another one's number by now.
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fd)
        for fd in {self._wakeup.fileno(), *(bell.fileno() for bell in bells)}:
            self._selector.register(fd, selectors.EVENT_READ)
        if self._deadline is not None:
            timeout = min(timeout, self._deadline - time.monotonic())
        rung = {key.fd for key, _ in self._selector.select(max(timeout, 0))}
        rung.discard(self._wakeup.fileno())
        return rung

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopped = True
