# SPDX-License-Identifier: GPL-2.0-only
"""By a user who is not root, with the capabilities that README names and no other."""

import json
import os
import re
import sys
import time
from pathlib import Path

import pytest

from gretrace.host.privileges import ENTERING, WATCHING, shed
from tests.bpf.native import watching
from tests.children import forked, piped
from tests.frames import gre_packet
from tests.lab.hosts import A, B, pair

if os.geteuid() != 0:
    pytest.skip("giving capabilities needs root", allow_module_level=True)

README = Path(__file__).parents[2] / "README.md"
NOBODY = "65534"


def named():
    """The capabilities of README's requirement, those for the caller's own namespace."""
    line = next(line for line in README.read_text().splitlines() if "Root, or CAP_BPF" in line)
    return re.findall(r"CAP_\w+", line.partition(";")[0])


def run_as_nobody(host, capabilities, *arguments, **options):
    given = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in capabilities)
    command = [
        *("ip", "netns", "exec", host.name, "setpriv", "--reuid", NOBODY, "--regid", NOBODY),
        *("--clear-groups", "--no-new-privs", f"--bounding-set=-all,{given}"),
        *(f"--inh-caps=-all,{given}", f"--ambient-caps=-all,{given}"),
        *(sys.executable, "-c", "from gretrace.cli import main; main()", *arguments),
    ]
    return piped(command, text=True, **options)


def test_drops_are_explained_with_the_capabilities_that_are_named():
    assert named() == ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]
    with pair() as (a, b):
        options = ("--engine", "core", "-o", "json", "--duration", "20", "--count", "3")
        with run_as_nobody(b, named(), "explain-drop", *options) as running:
            running.hear(b"ready")
            a.send("va", gre_packet(A, B, key=5), times=3)
            began = time.monotonic()
            out, errors = running.communicate()
        assert running.returncode == 3, errors
        assert time.monotonic() - began < 20
        report = json.loads(out.splitlines()[-1])
        assert (report["count"], report["key"], report["iif"]) == (3, 5, "vb")


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_once_attached_root_keeps_what_is_needed_and_no_more():
    with pair() as (a, b), watching("--netns", b.name) as session:
        a.send("va", gre_packet(A, B, key=5), times=3)
        count = session.wait_for(b.namespace.inode)["count"]
        while count < 3:
            count = session.record(10)["count"]
        status = status_of(session.process.pid)
        kept = sum(1 << number for number in (*WATCHING, *ENTERING))
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == kept
        assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
        assert status["NoNewPrivs"].strip() == "1"


def test_without_namespaces_to_enter_nothing_is_kept_for_that():
    """In a child: it cannot be taken back."""

    def keep():
        shed(WATCHING)
        kept = int(status_of("self")["CapEff"], 16)
        assert kept == sum(1 << number for number in WATCHING)

    with forked(keep):
        pass


@pytest.mark.parametrize("lacking", ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"])
def test_each_of_them_is_needed_and_its_lack_is_one_line(lacking):
    with pair() as (_, b):
        rest = [name for name in named() if name != lacking]
        with run_as_nobody(b, rest, "explain-drop", "--duration", "0") as running:
            out, errors = running.communicate()
        assert running.returncode == 4
        assert out == ""
        assert len(errors.splitlines()) == 1
        assert "Traceback" not in errors
