# SPDX-License-Identifier: GPL-2.0-only
"""Waiting for the kernel, the clock and the user at once."""

import select
import selectors
import signal
import socket
import time
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Protocol, Self

from gretrace.errors import StalledError

# A second signal ends the program at once. One that comes within so many seconds of the first is
# the first: timeout(1) sends each twice, to the process and to its group.
TWICE = 0.1
# So many seconds after it is told to stop a command should have said its last.
GRACE = 2.0
# So often it is looked then whether anyone reads what is said.
TICK = 0.25
STDOUT, STDERR = 1, 2


class Readable(Protocol):
    """Something with a descriptor to wait for."""

    def fileno(self) -> int:
        """Return the descriptor."""


def is_stalled(descriptor: int) -> bool:
    """Whether to write to a descriptor would wait for its reader."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return not poll.poll(0)


class Interrupts:
    """How Ctrl-C ends a command that has no Watch yet, or no more.

    It raises KeyboardInterrupt. Where that is raised in a callback of C or in a finaliser Python
    prints it and goes on; a Watch that begins afterwards ends at once, and so does the program at
    a second Ctrl-C. Where an import lets go of its lock, it ends the program as it ends any.
    """

    came = False

    def listen(self) -> None:
        """Begin to."""
        self.came = False
        signal.signal(signal.SIGINT, self._raise)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        signal.signal(number, signal.SIG_DFL)
        if _lets_go_of_import(frame):
            signal.raise_signal(number)
        raise KeyboardInterrupt


def _lets_go_of_import(frame: FrameType | None) -> bool:
    """Whether a frame is in cb() of importlib._bootstrap, the callback of a module's lock."""
    while frame and frame.f_code.co_filename.startswith("<frozen importlib"):
        if frame.f_code.co_name == "cb":
            return True
        frame = frame.f_back
    return False


INTERRUPTS = Interrupts()


class Watch:
    """Waits until something can be read, and knows when it is time to stop.

    Stops at SIGINT, SIGTERM and SIGHUP, or `duration` seconds after it was entered; if it
    `reloads`, SIGHUP asks for that instead. A second
    signal has the effect that it has on any program. Where nobody reads what the program says, it
    cannot end in order: StalledError is raised then, GRACE seconds after the first signal. The
    signals have their old handlers back when the block ends.
    """

    def __init__(self, duration: float | None = None, *, reloads: bool = False) -> None:
        self._duration, self._reloads = duration, reloads
        self._is_reload_due = False
        self._deadline: float | None = None
        self._told_at: float | None = None
        self._was_stalled = False
        self._selector = selectors.DefaultSelector()
        self._old: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._wakeup, self._signalled = socket.socketpair()
        for end in (self._wakeup, self._signalled):
            end.setblocking(False)
        # Without it a signal between the check and select() would wait for the next of them.
        self._old_fd = signal.set_wakeup_fd(self._signalled.fileno(), warn_on_full_buffer=False)
        self._old[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._look_after)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup(1) has it ignored.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                is_reload = self._reloads and number == signal.SIGHUP
                heeds = self._note_reload if is_reload else self._stop
                self._old[number] = signal.signal(number, heeds)
        if self._duration is not None:
            self._deadline = time.monotonic() + self._duration
        if INTERRUPTS.came:
            self._stop(signal.SIGINT, None)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._old_fd)
        self._selector.close()
        self._wakeup.close()
        self._signalled.close()

    @property
    def stopped(self) -> bool:
        """Whether it is time to end."""
        return self._told_at is not None or (
            self._deadline is not None and time.monotonic() >= self._deadline
        )

    @property
    def overdue(self) -> bool:
        """Whether it is GRACE seconds past the time to end, so that what is left must be left."""
        ends = [end for end in (self._told_at, self._deadline) if end is not None]
        return bool(ends) and time.monotonic() >= min(ends) + GRACE

    def wait(self, readables: Iterable[Readable], timeout: float) -> set[int]:
        """Wait at most `timeout` seconds; return the descriptors that can be read."""
        # Anew each time: a descriptor that was closed may be another one's number by now.
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fd)
        for fd in {self._wakeup.fileno(), *(each.fileno() for each in readables)}:
            self._selector.register(fd, selectors.EVENT_READ)
        if self._deadline is not None:
            timeout = min(timeout, self._deadline - time.monotonic())
        ready = {key.fd for key, _ in self._selector.select(max(timeout, 0))}
        ready.discard(self._wakeup.fileno())
        return ready

    def take_reload(self) -> bool:
        """Whether SIGHUP came since the last call."""
        came, self._is_reload_due = self._is_reload_due, False
        return came

    def _note_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._is_reload_due = True

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._told_at is None:
            self._told_at = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, TWICE, TICK)

    def _look_after(self, _number: int, _frame: FrameType | None) -> None:
        """Let a second signal end the program, and see whether it can end by itself."""
        for number in self._old.keys() - {signal.SIGALRM}:
            signal.signal(number, signal.SIG_DFL)
        stalled = is_stalled(STDOUT) or is_stalled(STDERR)
        if stalled and self._was_stalled and self.overdue:
            raise StalledError
        self._was_stalled = stalled
