# SPDX-License-Identifier: GPL-2.0-only
"""`explain-drop` as the process that a user starts: what it is worth knowing of no one kernel.

Here and not in the lab, as to start it takes seconds in an emulated machine.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.children import finished
from tests.frames import gre_packet
from tests.lab.hosts import A, B, pair

GRETRACE = Path(sys.executable).with_name("gretrace")
NOBODY = 65534

if os.geteuid() != 0:
    pytest.skip("loading BPF programs needs root", allow_module_level=True)


def test_without_root_it_says_so():
    command = ["setpriv", "--reuid", str(NOBODY), "--clear-groups", GRETRACE, "explain-drop"]
    done = finished(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("gretrace: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "needs root" in done.stderr


def test_a_closed_pipe_ends_it_without_a_traceback():
    pipe = subprocess.PIPE
    with (
        pair() as (a, b),
        b.start(GRETRACE, "explain-drop", "-o", "json", stdout=pipe, stderr=pipe) as child,
    ):
        child.hear(b"gretrace: ready\n")
        child.stdout.close()
        a.send("va", gre_packet(A, B))
        assert child.wait() == 1
        assert child.stderr.read() == ""


def peak_memory(pid):
    """Return the most that a process has had resident so far, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


# bcc brings a compiler.
@pytest.mark.parametrize(("engine", "allowed"), [("core", 60), ("bcc", 160)])
def test_start_and_size_are_reported(capsys, engine, allowed):
    """The seconds are those of a machine that is busy with tests; the size is a promise."""
    command = (GRETRACE, "explain-drop", "--duration", "1", "--engine", engine)
    with pair() as (_, b):
        begin = time.monotonic()
        with b.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
            child.hear(b"gretrace: ready\n")
            seconds = time.monotonic() - begin
            # Not by wait4(): what it tells begins with the size of the process that was forked.
            megabytes = peak_memory(child.pid)
            assert child.wait() == 0
        with capsys.disabled():
            print(f"\n{engine}: ready after {seconds:.2f} s, peak {megabytes:.0f} MB")  # noqa: T201
        assert megabytes < allowed
