# SPDX-License-Identifier: GPL-2.0-only
"""How `explain-drop` starts and ends, well or badly."""

import signal
import time

import pytest

from tests.frames import gre_packet
from tests.lab.hosts import A, B, pair, run
from tests.lab.session import explain_drop, gretrace


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
    "ready file": (
        ["--ready-file", "/nowhere/ready", "--duration", "1"],
        2,
        "cannot make the ready file",
    ),
}


def test_errors_are_one_line_and_leave_nothing_attached():
    for options, code, words in ERRORS.values():
        done = gretrace(None, "explain-drop", *options)
        assert (done.exit_code, done.stdout) == (code, ""), done
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("gretrace: ")
        assert words in done.stderr
    assert attached_programs() == 0
