# SPDX-License-Identifier: GPL-2.0-only
"""What commands say in a namespace, within limits of time and size."""

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from gretrace.errors import GretraceError
from gretrace.host.namespaces import Namespace, entered

# What a command may say, in bytes: some ten thousand rules of nft. Read, it takes ten times the
# room.
LONGEST = 4 << 20
# Where tools are found that run with our privileges: not in the caller's PATH.
TOOLS = "/usr/sbin:/usr/bin:/sbin:/bin"
CHUNK = 1 << 16
# So often a stop is asked for, in seconds.
STEP = 0.05
# So long a child is waited for that has said all, or was killed: one may hang in the kernel.
LAST = 0.5


@dataclass(frozen=True, slots=True)
class Unread:
    """A command that was ended before it had said all, and why."""

    why: str  # "as nft takes longer than 2 s"


@dataclass(slots=True)
class _Running:
    """A command that runs, and what it has said."""

    tool: str
    process: subprocess.Popen[bytes]
    said: bytearray = field(default_factory=bytearray)
    unread: Unread | None = None

    def fileno(self) -> int:
        return self.process.stdout.fileno() if self.process.stdout else -1

    def end(self) -> bytes | Unread | None:
        """Return what it said; None when it failed."""
        if self.unread or not self._waited():
            # With whatever it has started.
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self._waited()
        if self.process.stdout:
            self.process.stdout.close()
        if self.unread:
            return self.unread
        return bytes(self.said) if self.process.returncode == 0 else None

    def _waited(self) -> bool:
        """Wait for its end a moment; return whether it came."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(LAST)
        return self.process.returncode is not None


def list_all(
    namespace: Namespace,
    commands: Mapping[str, Sequence[str]],
    patience: float,
    stopped: Callable[[], bool],
) -> dict[str, bytes | Unread | None]:
    """Run commands in a namespace, all at once; None for one that is not there, or fails.

    They have `patience` seconds, and are ended once `stopped` says so.
    """
    deadline = time.monotonic() + patience
    started = [
        _Running(tool, process)
        for tool, command in commands.items()
        if (process := _start(namespace, command))
    ]
    with selectors.DefaultSelector() as selector:
        for running in started:
            selector.register(running, selectors.EVENT_READ, running)
        while selector.get_map():
            late = f"takes longer than {patience:g} s" if time.monotonic() >= deadline else None
            why = "was not waited for at the end" if stopped() else late
            if why:
                for key in list(selector.get_map().values()):
                    key.data.unread = Unread(f"as {key.data.tool} {why}")
                break
            for key, _ in selector.select(STEP):
                if not _read(key.data):
                    selector.unregister(key.fileobj)
    ended = {running.tool: running.end() for running in started}
    return {tool: ended.get(tool) for tool in commands}


def _start(namespace: Namespace, command: Sequence[str]) -> subprocess.Popen[bytes] | None:
    program = shutil.which(command[0], path=TOOLS)
    if program is None:
        return None
    try:
        # A child is born into the namespace of the thread that starts it.
        with entered(namespace):
            return subprocess.Popen(
                [program, *command[1:]],
                env={"PATH": TOOLS, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Ctrl-C is for us, and we say what becomes of it.
                process_group=0,
            )
    except (OSError, GretraceError):
        return None


def _read(running: _Running) -> bool:
    """Read on; return whether there may be more."""
    data = os.read(running.fileno(), CHUNK)
    running.said += data
    if len(running.said) > LONGEST:
        running.unread = Unread(f"as {running.tool} lists more than {LONGEST >> 20} MB of rules")
        return False
    return bool(data)
