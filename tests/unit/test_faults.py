# SPDX-License-Identifier: GPL-2.0-only
"""A fault of gretrace's own costs a verdict its words, and is told once; it ends no run."""

import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gretrace.capture import Frame
from gretrace.cli import outcome, run
from gretrace.engine.wanted import Wanted
from gretrace.errors import PrerequisiteError
from gretrace.explain.reading import Reader, Scene
from gretrace.kernel.lookup import Tables
from gretrace.render.record import to_record
from gretrace.verdicts import CAUSES, explain
from gretrace.verdicts.registry import Cause
from tests.captures import RAW, Pcapng
from tests.children import finished, piped
from tests.frames import gre_packet
from tests.unit.cases import A, B, case, tunnel
from tests.unit.test_explain import FakeDrops, FakeOutput, FakeWatch, explainer, follow

PACKET = gre_packet(A, B, key=2)


def fail(_case):
    raise KeyError("no such\nthing")


def refuse(_case):
    raise PrerequisiteError("cannot enter the network namespace", "run as root")


@pytest.fixture
def broken(monkeypatch):
    """Break every cause of these names."""

    def put(recognise, *names):
        causes = [
            Cause(c.name, c.meaning, recognise, c.last_resort) if c.name in names else c
            for c in CAUSES
        ]
        monkeypatch.setattr("gretrace.verdicts.registry.CAUSES", causes)

    return put


def test_a_cause_that_fails_leaves_the_verdict_to_the_others(broken):
    broken(fail, "keepalive-unanswered")
    assert explain(case(PACKET, tunnel(key=1))).cause == "key-mismatch"


def test_what_only_the_failing_cause_would_know_is_other_with_what_is_known(broken):
    broken(fail, "key-mismatch")
    verdict = explain(case(PACKET, tunnel(key=1)))
    assert verdict.cause == "other"
    assert "20.1.1.2" in verdict.finding.summary
    (fault,) = verdict.faults
    assert (fault.cause, fault.is_ours) == ("key-mismatch", True)
    assert fault.what == "KeyError: 'no such\\nthing'"
    assert "Whether it was key-mismatch could not be asked" in verdict.finding.evidence[-1]


def test_what_the_host_does_not_tell_is_no_fault_of_ours(broken):
    broken(refuse, "key-mismatch")
    verdict = explain(case(PACKET, tunnel(key=1)))
    assert verdict.cause == "other"
    assert [fault.is_ours for fault in verdict.faults] == [False]


def test_even_the_last_resort_may_fail(broken):
    broken(fail, *(c.name for c in CAUSES))
    verdict = explain(case(PACKET, tunnel(key=1)))
    assert verdict.cause == "other"
    assert "gre_rcv" in verdict.finding.summary
    # The same error in each is one fault.
    assert len(verdict.faults) == 1


def test_a_fault_is_told_once_and_the_run_goes_on(broken):
    broken(fail, "key-mismatch")
    drops, output, told = FakeDrops(), FakeOutput(), []
    made, _ = explainer(drops, tunnel(key=1))
    watch = FakeWatch(
        lambda: drops.count(PACKET), lambda: drops.count(gre_packet(A, B, key=3)), lambda: None
    )
    follow(made, watch, output, limit=None, tell=told.append)
    assert output.finished == [1, 1]
    assert len(told) == 1
    assert told[0].startswith("this is a bug: the verdict key-mismatch failed (KeyError: ")
    assert re.search(r"(registry|test_faults)\.py:\d+", told[0])
    assert "please report this line" in told[0]
    assert "\n" not in told[0]


def test_of_a_capture_it_is_a_remark(broken):
    broken(fail, "key-mismatch")
    reader = Reader(Scene(Tables([tunnel(key=1)])), Wanted())
    reader.read([Frame(1, PACKET, len(PACKET))], None)
    reader.finish(FakeOutput())
    assert [remark[:13] for remark in reader.remarks()] == ["this is a bug"]


def test_an_unforeseen_error_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(outcome, "_run", fail)
    assert run(["check"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("gretrace: this is a bug: KeyError: ")
    assert "`gretrace --version`" in err


def test_packets_of_any_year_are_told_of(tmp_path, capsys):
    capture, tunnels = tmp_path / "c.pcapng", tmp_path / "t.json"
    # Seconds, so that the years are beyond all that 64 bits of nanoseconds hold.
    file = Pcapng().interface(RAW, resolution=b"\0")
    for second in (0, 2**33, 2**35, 2**64 - 1):
        file.packet(second, PACKET)
    capture.write_bytes(file.data)
    tunnels.write_text("")
    assert (
        run(["explain-drop", "--read", str(capture), "--tunnels", str(tunnels), "-o", "json"]) == 3
    )
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["count"] == 4


# What a console script does, with a word once it begins to import.
START = """
import os, sys
import gretrace.cli as cli
real, cli.run = cli.run, lambda arguments: (os.write(1, b"x\\n"), real(arguments))[1]
sys.argv = ["gretrace", "lookup", "20.1.1.2", "20.1.1.1"]
cli.main()
"""


# Ctrl-C while libbpf says what it does: Python prints what is raised there, and goes on.
SWALLOWED = """
import os, signal, sys
import gretrace.cli as cli
from gretrace.engine import binding
real, left = binding.MESSAGES._keep, [None]
def keep(*said):
    while left:
        left.pop()
        os.kill(os.getpid(), signal.SIGINT)
    return real(*said)
binding.MESSAGES.callback = binding._PRINT(keep)
sys.argv = ["gretrace", "explain-drop"]
cli.main()
"""


def test_ctrl_c_that_a_callback_swallows_ends_it_all_the_same():
    if os.geteuid():
        pytest.skip("loading BPF programs needs root")
    done = finished([sys.executable, "-c", SWALLOWED], capture_output=True)
    assert b"Exception ignored" in done.stderr
    assert done.returncode == 0, done.stderr


RELEASING = """
import os, signal, weakref
from gretrace.live import INTERRUPTS
INTERRUPTS.listen()
source = "def cb(_): os.kill(os.getpid(), signal.SIGINT)"
names = {"os": os, "signal": signal}
exec(compile(source, "<frozen importlib._bootstrap>", "exec"), names)
class Lock: pass
lock = Lock()
kept = weakref.ref(lock, names["cb"])
del lock
print("went on")
"""


def test_ctrl_c_while_an_import_lets_go_of_its_lock_is_no_traceback():
    done = finished([sys.executable, "-c", RELEASING], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_ctrl_c_while_it_imports_is_no_traceback():
    dice = random.Random(4)
    ended = []
    for _ in range(60):
        with piped([sys.executable, "-c", START]) as child:
            child.hear(b"x", child.stdout)
            time.sleep(dice.uniform(0, 0.15))
            child.send_signal(signal.SIGINT)
            out, err = child.communicate()
            ended.append(child.returncode)
            assert b"Traceback" not in err, err
            assert err.strip() in (b"", b"gretrace: interrupted; nothing is left attached"), err
            # Killed by the signal, interrupted in order, or done before it came.
            assert child.returncode in (-signal.SIGINT, 130) or out
    assert ended.count(-signal.SIGINT) > 10


def test_what_respond_has_attached_is_not_said_to_be_gone(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("gretrace.cli.respond.require_privilege", interrupt)
    assert run(["respond", "gre1"]) == 130
    assert "nothing is left" not in capsys.readouterr().err


GRETRACE = [sys.executable, "-c", "from gretrace.cli import main; main()"]


def closed():
    """A pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["explain-drop", "--help"],
        ["lookup", "20.1.1.2", "20.1.1.1", "--tunnels", os.devnull],
        ["lookup", "20.1.1.2", "20.1.1.1", "--tunnels", os.devnull, "-o", "json"],
        ["explain-drop", "--read", "CAPTURE", "--tunnels", os.devnull],
        ["explain-drop", "--read", "CAPTURE", "--tunnels", os.devnull, "-o", "json"],
    ],
)
def test_what_cannot_be_written_is_one_line_or_none(arguments, tmp_path):
    capture = tmp_path / "capture"
    capture.write_bytes(Pcapng().interface(RAW).packet(1, PACKET).data)
    command = [*GRETRACE, *(str(capture) if a == "CAPTURE" else a for a in arguments)]

    with Path("/dev/full").open("wb") as full:
        done = finished(command, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 1
        assert done.stderr == b"gretrace: cannot write what it says (No space left on device)\n"
        # With both, there is nobody to say it to.
        assert finished(command, stdout=full, stderr=full).returncode == 1

    write = closed()
    done = finished(command, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == b""


def test_an_error_of_a_disk_that_is_no_output_is_told_as_it_is(monkeypatch, capsys):
    def fail_to_read(_arguments):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(outcome, "_run", fail_to_read)
    assert run(["check"]) == 1
    assert "Too many open files" in capsys.readouterr().err


def test_a_libbpf_that_is_too_old_is_one_line():
    code = (
        "from gretrace.engine import binding, objects\n"
        "objects._open_mem = binding.bind('bpf_object__of_tomorrow', None)\n"
        "import sys; from gretrace.cli import run; sys.exit(run(['explain-drop', '-c', '1']))"
    )
    done = finished([sys.executable, "-c", code], capture_output=True, text=True)
    if "needs root" in done.stderr:
        pytest.skip("loading BPF programs needs root")
    assert done.returncode == 4, done.stderr
    assert "libbpf.so.1 is too old: it has no bpf_object__of_tomorrow()" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_of_a_fault_has_all_keys(broken):
    broken(fail, "key-mismatch")
    reader = Reader(Scene(Tables([tunnel(key=1)])), Wanted())
    reader.read([Frame(1, PACKET, len(PACKET))], None)
    shown = []

    class Output(FakeOutput):
        def show(self, _identity, report):
            shown.append(to_record(report))

    reader.finish(Output())
    assert shown[0]["cause"] == "other"
