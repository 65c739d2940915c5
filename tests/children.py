# SPDX-License-Identifier: GPL-2.0-only
"""Children that a test starts: nothing waits for one without end, and none outlives its block."""

import os
import select
import signal
import subprocess
import time
import traceback
from contextlib import contextmanager

# Seconds: more than any child takes on a machine that is busy with tests.
PATIENCE = 60


class Child(subprocess.Popen):
    """A child that is killed when its block ends, if it has not ended by itself."""

    def __init__(self, command, *, patience=PATIENCE, **options):
        self._patience = patience
        super().__init__(command, **options)

    def __exit__(self, *failure):
        if self.poll() is None:
            self.kill()
        super().__exit__(*failure)

    def wait(self, timeout=None):
        return super().wait(self._patience if timeout is None else timeout)

    def communicate(self, input=None, timeout=None):  # noqa: A002
        return super().communicate(input, self._patience if timeout is None else timeout)

    def hear(self, words, stream=None):
        """Read on, on standard error unless told, to the end of a line that has these words.

        Returns all that was said; to say something else and no more, or nothing, is a failure.
        """
        fd = (stream or self.stderr).fileno()
        said = line = b""
        deadline = time.monotonic() + self._patience
        while not (line.endswith(b"\n") and words in line):
            left = max(0, deadline - time.monotonic())
            assert select.select([fd], [], [], left)[0], f"waited for {words}: {said}"
            # No more than that line: what follows is for communicate().
            byte = os.read(fd, 1)
            assert byte, f"ended before {words}: {said}"
            line = byte if line.endswith(b"\n") else line + byte
            said += byte
        return said


def piped(command, **options):
    """Start a child whose output is read."""
    return Child(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def finished(command, **options):
    """Run a child that ends by itself; one that does not is killed, which is a failure."""
    return subprocess.run(command, check=options.pop("check", False), timeout=PATIENCE, **options)


@contextmanager
def forked(function, *arguments):
    """Call a function in a fork of the tests; inside the block it may still run.

    Whatever it raises, the fork does not go on as a second run of the tests.
    """
    pid = os.fork()
    if not pid:
        code = 1
        try:
            function(*arguments)
            code = 0
        except BaseException:  # noqa: BLE001 - it is shown, and the exit code tells
            traceback.print_exc()
        finally:
            os._exit(code)
    try:
        yield pid
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    assert ended(pid) == 0


def ended(pid):
    """Wait for a fork, and return its exit code; one that does not end is killed."""
    fd = os.pidfd_open(pid)
    try:
        if not select.select([fd], [], [], PATIENCE)[0]:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
