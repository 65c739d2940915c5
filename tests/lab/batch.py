# SPDX-License-Identifier: GPL-2.0-only
"""iproute2 kept running: to start a program is what takes longest in an emulated machine."""

import os
import re
import secrets
import select
import subprocess
from dataclasses import dataclass

# Shown last, this has `ip` write out all that it has shown before.
FLUSH = "link show dev lo"
FLUSHED = re.compile(rb"1: lo: [^\n]*\n +link/loopback [^\n]*\n\Z")
REFUSED = re.compile(rb"^Command failed -:\d+\n\Z", re.MULTILINE)
AT_ONCE = 1 << 16
PATIENCE = 300  # seconds; an emulated machine is slow


@dataclass(frozen=True)
class Refusal:
    """A line that `ip` did not do, counted from 1, and what it said."""

    number: int
    line: str
    said: str


class Batch:
    """`ip OPTIONS -batch -`, started when it is first needed."""

    def __init__(self, *options):
        self._command = ("ip", *options, "-force", "-batch", "-")
        # ip has no object of this name, which it says on stderr: there ends the turn of a line.
        self._turn = f"turn-{secrets.token_hex(4)}"
        self._ends = re.compile(rb"[^\n]*%b[^\n]*\nCommand failed -:\d+\n" % self._turn.encode())
        self._process = None

    def run(self, lines):
        """Run lines one after the other; returns what they showed, and a Refusal of each."""
        lines = [*lines, FLUSH]
        shown, said = self._exchange(lines)
        ended_by = len(said) if len(said) <= len(lines) else None
        if ended_by:
            # Over some mistakes it gives up; the lines after such a one were not done.
            self.close()
        refusals = [
            Refusal(number, line, REFUSED.sub(b"", words).decode(errors="replace").strip())
            for number, (line, words) in enumerate(zip(lines, said, strict=False), 1)
            if REFUSED.search(words) or number == ended_by
        ]
        return FLUSHED.sub(b"", shown).decode(errors="replace"), refusals

    @property
    def pid(self):
        """Its process, which is where its options have led it."""
        self.run([])
        return self._process.pid

    def close(self):
        """End it; it starts again when it is needed again."""
        if self._process:
            process, self._process = self._process, None
            # The end of its input would do, but that is open in forks of this process too.
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                pipe.close()

    def _exchange(self, lines):
        """Send lines; returns what was shown, and what was said of each.

        What was said has one more item, an empty one; if ip ended before its time, its last item
        is of the line that ended it.
        """
        process = self._start()
        rest = memoryview("".join(f"{line}\n{self._turn}\n" for line in lines).encode())
        heard = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        shown, said = heard.values()
        poll = select.poll()
        for fd in heard:
            poll.register(fd, select.POLLIN)
        poll.register(process.stdin, select.POLLOUT)
        while len(self._ends.findall(said)) < len(lines):
            ready = poll.poll(PATIENCE * 1000)
            assert ready, f"ip says no more: {bytes(said[-300:])}"
            for fd, event in ready:
                if fd in heard:
                    data = os.read(fd, AT_ONCE)
                    heard[fd] += data
                    if not data and fd == process.stderr.fileno():
                        return bytes(shown), self._ends.split(bytes(said))
                    going_on = bool(data)
                else:
                    rest = rest[os.write(fd, rest[:AT_ONCE]) :] if event == select.POLLOUT else b""
                    going_on = bool(rest)
                if not going_on:
                    poll.unregister(fd)
        while data := _more(process.stdout):
            shown += data
        return bytes(shown), self._ends.split(bytes(said))

    def _start(self):
        if self._process is None:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=pipe)
            for end in (self._process.stdin, self._process.stdout):
                os.set_blocking(end.fileno(), False)
        return self._process


def _more(pipe):
    """Return what is there to be read now."""
    try:
        return os.read(pipe.fileno(), AT_ONCE)
    except BlockingIOError:
        return b""
