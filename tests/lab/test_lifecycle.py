"""How `explain-drop` starts and ends, well or badly."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.frames import gre_packet
from tests.lab.hosts import A, B, pair, run
from tests.lab.session import ENGINE, explain_drop

GRETRACE = Path(sys.executable).parent / "gretrace"


def attached_programs():
    return run("bpftool", "prog", "show").stdout.count("name count_drop")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_attached(number):
    with pair() as (a, b):
        with explain_drop(b) as session:
            assert attached_programs() == 1
            a.send("va", gre_packet(A, B))
            session.wait_for_packets(1)
            code = session.stop(number)
            assert code == (-signal.SIGKILL if number == signal.SIGKILL else 3)
        # The kernel frees what a killed process held a moment later.
        deadline = time.monotonic() + 10
        while attached_programs() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert attached_programs() == 0


ERRORS = {
    "namespace": (["--netns", "nowhere"], 2, "there is no network namespace 'nowhere'"),
    "interface": (["--iif", "nope9"], 2, "there is no interface 'nope9'"),
    "key": (["--key", "12x"], 2, "'12x' is no GRE key"),
    "address": (["--remote", "300.1.1.1"], 2, "'300.1.1.1' is no IPv4 or IPv6 address"),
    "option": (["--nonsense"], 2, "No such option"),
    "contradiction": (["--netns", "x", "--all-netns"], 2, "contradict"),
    "ready file": (["--ready-file", "/nowhere/ready", "--duration", "1"], 2, "cannot touch"),
}


def test_errors_are_one_line_and_leave_nothing_attached():
    for options, code, words in ERRORS.values():
        done = _gretrace("explain-drop", *options)
        _assert_refused(done, code, words)
    assert attached_programs() == 0


def test_without_root_it_says_so():
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", GRETRACE, "explain-drop"],
        capture_output=True,
        text=True,
        check=False,
    )
    _assert_refused(done, 4, "needs root")


def test_a_closed_pipe_ends_it_without_a_traceback():
    with pair() as (a, b):
        child = subprocess.Popen(
            ["ip", "netns", "exec", b.name, GRETRACE, "explain-drop", "-o", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stderr.readline() == "gretrace: ready\n"
        child.stdout.close()
        a.send("va", gre_packet(A, B))
        assert child.wait(timeout=60) == 1
        assert child.stderr.read() == ""
        child.stderr.close()


def peak_memory(pid):
    """Return the most that a process has had resident so far, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def test_start_and_size_are_reported(capsys):
    """Emulated, so the seconds are no promise; the size is."""
    with pair() as (_, b):
        begin = time.monotonic()
        child = subprocess.Popen(
            ["ip", "netns", "exec", b.name, GRETRACE, "explain-drop", "--duration", "1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stderr.readline() == "gretrace: ready\n"
        seconds = time.monotonic() - begin
        # Not by wait4(): what it tells begins with the size of the process that was forked.
        megabytes = peak_memory(child.pid)
        assert child.wait(timeout=60) == 0
        child.stderr.close()
        with capsys.disabled():
            print(f"\nexplain-drop: ready after {seconds:.2f} s, peak {megabytes:.0f} MB")  # noqa: T201
        # bcc brings a compiler.
        assert megabytes < (160 if ENGINE == "bcc" else 60)


def _gretrace(*arguments):
    return subprocess.run([GRETRACE, *arguments], capture_output=True, text=True, check=False)


def _assert_refused(done, code, words):
    assert done.returncode == code, done
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("gretrace: ")
    assert words in done.stderr
    assert done.stdout == ""
