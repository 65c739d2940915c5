# SPDX-License-Identifier: GPL-2.0-only
"""The script that is installed: what comes before the first line of the package runs."""

import os
import random
import re
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.children import finished, piped

GRETRACE = Path(sys.executable).with_name("gretrace")
AT_ONCE, ROUNDS = 6, 20
# What Ctrl-C may have said; once it has done its work, it is too late.
SAID = re.compile(rb"\n?(gretrace: interrupted; nothing is left attached\n)?")


@pytest.fixture
def planted(tmp_path):
    """An environment that would have Python run what somebody has put somewhere."""
    mark = tmp_path / "ran"
    for name in ("sitecustomize.py", "gretrace.py", "click.py", "_signal.py"):
        (tmp_path / name).write_text(f"open({str(mark)!r}, 'a').write(__name__)\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONUSERBASE": str(tmp_path)}, mark


@pytest.mark.parametrize("by", ["path", "link", "relative"])
def test_python_runs_apart_from_the_callers_variables(planted, tmp_path, by):
    environment, mark = planted
    command, folder = [GRETRACE], tmp_path
    if by == "path":
        command = ["gretrace"]
        environment["PATH"] = f"{GRETRACE.parent}:{environment['PATH']}"
    elif by == "link":
        command = [tmp_path / "link to it"]
        command[0].symlink_to(GRETRACE)
    else:
        command, folder = ["./gretrace"], GRETRACE.parent
    options = {"cwd": folder, "env": environment, "capture_output": True, "text": True}
    done = finished([*command, "--version"], **options)
    assert done.stdout.startswith("gretrace 0."), done.stderr
    assert not mark.exists()
    finished([sys.executable, "-c", ""], **options)
    assert mark.exists(), "nothing would have been run anyway"


def test_arguments_and_the_exit_code_are_handed_through():
    done = finished([GRETRACE, "no such command", "-I"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no such command" in done.stderr


def test_what_is_installed_for_one_user_is_said_to_be_so(tmp_path):
    for name in ("gretrace", "gretrace-python"):
        text = GRETRACE.with_name(name).read_text()
        (tmp_path / name).write_text(re.sub(r"^#!.*/python3?\b.*", "#!/usr/bin/python3", text))
        (tmp_path / name).chmod(0o755)
    done = finished([tmp_path / "gretrace", "--version"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("gretrace: the package is not found")
    assert done.stderr.count("\n") == 1


def test_a_python_whose_name_is_too_long_for_the_first_line_is_started(tmp_path):
    (tmp_path / "gretrace").write_bytes(GRETRACE.read_bytes())
    (tmp_path / "gretrace-python").write_text('#!/bin/sh\necho "ran $*"\n')
    for script in tmp_path.iterdir():
        script.chmod(0o755)
    done = finished([tmp_path / "gretrace", "a b"], capture_output=True, text=True)
    assert done.stdout == "ran a b\n", done.stderr


def test_ctrl_c_at_any_moment_of_a_launch_is_no_traceback():
    dice = random.Random(8)
    endings = set()
    for _ in range(ROUNDS):
        with ExitStack() as stack:
            command = [GRETRACE, "lookup", "20.1.1.2", "20.1.1.1"]
            children = [stack.enter_context(piped(command)) for _ in range(AT_ONCE)]
            began = time.monotonic()
            moments = sorted(dice.uniform(0, 0.1 * AT_ONCE) for _ in children)
            for moment, child in zip(moments, children, strict=True):
                time.sleep(max(0, began + moment - time.monotonic()))
                child.send_signal(signal.SIGINT)
            said = [child.communicate()[1] for child in children]
        endings |= {child.returncode for child in children}
        for words in said:
            assert SAID.fullmatch(words) or b"gretrace: this kernel has no GRE" in words, words
    assert -signal.SIGINT in endings
    assert endings <= {-signal.SIGINT, 130, 0, 3, 4}, endings
