# SPDX-License-Identifier: GPL-2.0-only
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest

from gretrace import live
from gretrace.errors import StalledError
from gretrace.live import Watch
from tests.children import Child


class Pipe:
    def __init__(self):
        self.read, self.write = os.pipe()

    def fileno(self):
        return self.read


def test_what_is_readable_wakes_and_is_named():
    pipe = Pipe()
    with Watch() as watch:
        assert watch.wait([pipe], 0) == set()
        os.write(pipe.write, b"x")
        assert watch.wait([pipe], 5) == {pipe.read}
        assert not watch.stopped
    os.close(pipe.read)
    os.close(pipe.write)


def test_signals_stop_it_even_while_it_waits():
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        with Watch() as watch:
            threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
            begin = time.monotonic()
            watch.wait([], 30)
            assert time.monotonic() - begin < 10
            assert watch.stopped
        assert signal.getsignal(number) is before


def test_a_duration_ends_by_itself():
    with Watch(0.05) as watch:
        assert not watch.stopped
        begin = time.monotonic()
        watch.wait([], 30)
        assert time.monotonic() - begin < 10
        assert watch.stopped


def test_what_is_not_done_after_a_while_is_overdue(monkeypatch):
    monkeypatch.setattr(live, "GRACE", 0.1)
    with Watch(0.05) as by_itself, Watch() as told:
        os.kill(os.getpid(), signal.SIGTERM)
        assert told.stopped
        assert not told.overdue
        assert not by_itself.overdue
        time.sleep(0.2)
        assert told.overdue
        assert by_itself.overdue


@contextmanager
def child(script, **streams):
    """Run a script that ends once it is told to, or does not."""
    code = "import os, signal, sys, time\nfrom gretrace.live import Watch\n" + script
    with Child([sys.executable, "-c", code], **streams) as made:
        made.hear(b"ready\n")
        yield made


def wait_until_a_second_signal_ends(process, number):
    """Wait until the signal has its default effect again; a busy machine takes its time."""
    deadline = time.monotonic() + 30
    while int(caught(process.pid), 16) >> (number - 1) & 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def caught(pid):
    return re.search(r"SigCgt:\s+(\w+)", Path(f"/proc/{pid}/status").read_text())[1]


SPINNING = """
with Watch() as watch:
    os.write(2, b"ready\\n")
    while True:
        pass
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_ends_whatever_goes_on(number):
    with child(SPINNING, stderr=subprocess.PIPE) as spinning:
        spinning.send_signal(number)
        wait_until_a_second_signal_ends(spinning, number)
        assert spinning.poll() is None
        spinning.send_signal(number)
        assert spinning.wait(30) == -number


def test_a_signal_that_comes_twice_at_once_is_one():
    """timeout(1) sends it to the process, then to its group."""
    # No machine is too busy for what is meant to be an instant.
    patient = "from gretrace import live\nlive.TWICE = 20\n" + SPINNING
    with child(patient, stderr=subprocess.PIPE) as spinning:
        for _ in range(3):
            spinning.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        assert spinning.poll() is None


def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Watch() as watch:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not watch.stopped
    assert signal.signal(signal.SIGHUP, before) is signal.SIG_IGN


WRITING = """
with Watch() as watch:
    os.write(2, b"ready\\n")
    while not watch.stopped:
        sys.stdout.write("x" * 4096)
"""


def test_who_writes_to_nobody_can_still_be_told_to_end():
    with child(WRITING, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writing:
        time.sleep(0.3)
        begin = time.monotonic()
        writing.terminate()
        writing.hear(b"StalledError")
        assert time.monotonic() - begin < live.GRACE + 30


def test_a_reader_that_is_only_late_gets_it_all(monkeypatch):
    monkeypatch.setattr(live, "GRACE", 0.1)
    stalls = cycle([True, False])
    monkeypatch.setattr(live, "is_stalled", lambda fd: fd == live.STDOUT and next(stalls))
    with Watch() as watch:
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            watch.wait([], 0.05)
    monkeypatch.setattr(live, "is_stalled", lambda _: True)
    with Watch():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StalledError):
            time.sleep(5)
