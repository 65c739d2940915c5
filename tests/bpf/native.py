# SPDX-License-Identifier: GPL-2.0-only
"""`explain-drop` as a process of its own, on the kernel that is running."""

import json
import select
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from tests.children import piped

GRETRACE = Path(sys.executable).with_name("gretrace")
PATIENCE = 30


class Running:
    """It, with its lines of JSON as they come."""

    def __init__(self, process):
        self.process, self._lines, self._rest = process, [], b""

    def descriptors(self):
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def record(self, patience):
        """Return the next object; None where none comes for so many seconds."""
        while not self._lines:
            if not select.select([self.process.stdout], [], [], patience)[0]:
                return None
            data = self.process.stdout.read(1 << 16)
            if not data:
                return None
            *self._lines, self._rest = (self._rest + data).split(b"\n")
        return json.loads(self._lines.pop(0))

    def wait_for(self, inode):
        """Return the first report from a namespace."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            record = self.record(0.1)
            if record and record["netns"] == inode:
                return record
        raise AssertionError(f"nothing was reported from {inode}")

    def end(self):
        """End it as a user would; return what it said on standard error."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=PATIENCE)[1].decode()


@contextmanager
def watching(*options):
    """Run it; inside the block it is ready."""
    command = [GRETRACE, "explain-drop", "-o", "json", *options]
    with piped(command, bufsize=0) as process:
        process.hear(b"ready")
        running = Running(process)
        yield running
        if process.poll() is None:
            running.end()
