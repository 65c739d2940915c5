# SPDX-License-Identifier: GPL-2.0-only
"""`gretrace explain-drop` run in a host, its JSON read as it comes."""

import json
import os
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gretrace.cli import run
from gretrace.cli.commands import load_all
from gretrace.host.iproute import open_iproute
from gretrace.host.namespaces import enter
from tests.lab.journal import note

PATIENCE = 60  # seconds; an emulated machine is slow

# Which engine the lab is held against; the commands take it from the environment too.
ENGINE = os.environ.get("GRETRACE_ENGINE", "auto")

LOOK_AGAIN = 0.01  # seconds

# What the test that is running was told, for the table of causes at the end of script/test.
causes_seen = set()
# Those that run now, whose streams are shown of a test that fails.
running_sessions = []


def warm_up():
    """Import what commands import when they are called, so that no fork has to."""
    # click, when it looks for an option; gretrace, when it attaches and asks for routes.
    import difflib  # noqa: F401

    import gretrace.engine.choice
    import gretrace.engine.drops
    import gretrace.engine.lookups  # noqa: F401

    load_all()
    open_iproute().close()


@dataclass
class Session:
    """A running `explain-drop`."""

    pid: int
    directory: Path
    arguments: tuple[str, ...] = ()
    host: str | None = None
    exit_code: int | None = None
    _kept: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def ready(self):
        return (self.directory / "ready").exists()

    @property
    def stdout(self):
        return self._read("stdout")

    @property
    def stderr(self):
        return self._read("stderr")

    def _read(self, stream):
        if stream in self._kept:
            return self._kept[stream]
        return (self.directory / stream).read_text()

    def keep(self):
        """Keep what was said beyond the life of the directory."""
        self._kept = {stream: self._read(stream) for stream in ("stdout", "stderr")}
        self.tell()
        if self._kept["stdout"].startswith("{"):
            causes_seen.update(record["cause"] for record in self.records if "cause" in record)

    def tell(self):
        """Have what was said so far shown if the test fails."""
        state = "runs" if self.exit_code is None else f"exit {self.exit_code}"
        said = f"stdout:\n{self.stdout}\nstderr:\n{self.stderr}\n{state}"
        note(self.host, f"gretrace {' '.join(self.arguments)}", said)

    @property
    def records(self):
        """Every object so far; a line that is still being written is left out."""
        whole = self.stdout.rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def reports(self):
        """The last object of each cause and tuple."""
        return list(self._last().values())

    def _last(self):
        identity = ("cause", "netns", "iif", "remote", "local", "key", "protocol", "kernel")
        return {json.dumps([record[name] for name in identity]): record for record in self.records}

    def wait_for(self, condition, what):
        """Wait until `condition` of the reports holds."""
        self._wait_until(lambda: condition(self.reports), what)

    def wait_for_records(self, count):
        """Wait until `count` objects were written."""
        self._wait_until(lambda: len(self.records) >= count, f"{count} records")

    def wait_for_text(self, text):
        """Wait until something was said, on either stream."""
        self._wait_until(lambda: text in self.stdout + self.stderr, repr(text))

    def _wait_until(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"no {what} in {self.stdout!r} {self.stderr!r}"
            # It may have done its work and ended between two looks.
            assert self.alive() or condition(), f"no {what}: {self.stdout!r} {self.stderr!r}"
            time.sleep(LOOK_AGAIN)

    def wait_for_packets(self, count):
        """Wait until `count` dropped packets were reported."""
        self.wait_for(lambda reports: sum(r["count"] for r in reports) >= count, f"{count} packets")

    @contextmanager
    def quiet(self):
        """Have nothing that happens in the block reported, neither anew nor as a count that grew.

        All that came before must have been reported. It ends the session, whose last lines have
        the exact counts.
        """
        before, said = self._counts(), self.stderr
        yield
        assert self.stop() == (3 if before else 0), self.stderr
        grown = {what: n for what, n in self._counts().items() if n != before.get(what)}
        assert not grown, f"reported meanwhile, by its count now: {grown}"
        assert self.stderr == said

    def _counts(self):
        return {what: record["count"] for what, record in self._last().items()}

    def alive(self):
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code is None

    def stop(self, number=signal.SIGINT):
        """End it as a user would; returns the exit code."""
        if self.alive():
            os.kill(self.pid, number)
        return self.wait()

    def wait(self):
        deadline = time.monotonic() + PATIENCE
        while self.alive():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError("gretrace did not end")
            time.sleep(LOOK_AGAIN)
        return self.exit_code


def explain_drop(host, *options, output="json"):
    """Run `explain-drop` in a host; inside the block it is ready."""
    return running(host, "explain-drop", "-o", output, *options)


@contextmanager
def running(host, *arguments):
    """Run a live command in a host; inside the block it is ready.

    It runs in a fork of this process, which saves an emulated machine the imports.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        told = (*arguments, "--ready-file", str(directory / "ready"))
        session = Session(fork(host, directory, told), directory, arguments, host and host.name)
        running_sessions.append(session)
        try:
            deadline = time.monotonic() + PATIENCE
            while not session.ready:
                assert session.alive(), f"exit {session.exit_code}: {session.stderr}"
                assert time.monotonic() < deadline, f"not ready: {session.stderr}"
                time.sleep(LOOK_AGAIN)
            yield session
        finally:
            running_sessions.remove(session)
            session.stop(signal.SIGKILL)
            session.keep()


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def records(self):
        return [json.loads(line) for line in self.stdout.splitlines()]


def gretrace(host, *arguments):
    """Run a command that ends by itself in a host."""
    with tempfile.TemporaryDirectory() as name:
        pid = fork(host, Path(name), arguments)
        session = Session(pid, Path(name), arguments, host and host.name)
        code = session.wait()
        session.tell()
        return Done(code, session.stdout, session.stderr)


def fork(host, directory, arguments):
    """Run gretrace with `arguments` in a child; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        for number, stream in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(directory / stream, os.O_WRONLY | os.O_CREAT), number)
        # pytest has put streams of its own here.
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        if host:
            enter(host.namespace)
        code = run(list(arguments))
        sys.stdout.flush()
    finally:
        os._exit(code)
