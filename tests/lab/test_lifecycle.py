# SPDX-License-Identifier: GPL-2.0-only
"""How `explain-drop` starts and ends, well or badly."""

import json
import signal
import time

import pytest

from tests.bpf.test_unprivileged import named, run_as_nobody
from tests.frames import gre_packet
from tests.lab.hosts import A, B, pair, run, tunnel_b
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


def test_nobody_explains_with_the_capabilities_of_readme():
    """User 65534, with those and no other; `lookup --follow` needs one more, for modules' BTF."""
    slowly = {"patience": 300}
    explaining = ("explain-drop", "--engine", "core", "-o", "json", "-c", "3")
    following = ("lookup", "--follow", "--engine", "core", "-o", "json", "-c", "3")
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        with (
            run_as_nobody(b, named(), *explaining, **slowly) as why,
            run_as_nobody(b, [*named(), "CAP_SYS_ADMIN"], *following, **slowly) as what,
        ):
            for running in (why, what):
                running.hear(b"gretrace: ready")
            a.send("va", gre_packet(A, B, key=2), times=3)
            (out, errors), (answers, complaints) = why.communicate(), what.communicate()
            assert (why.returncode, what.returncode) == (3, 0), errors + complaints
        report = json.loads(out.splitlines()[-1])
        assert (report["cause"], report["tunnel"]) == ("key-mismatch", "gre1")
        assert report["count"] == 3
        decided = [json.loads(line) for line in answers.splitlines()]
        assert [(each["tunnel"], each["key"]) for each in decided] == [(None, 2)] * 3
