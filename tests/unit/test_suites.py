# SPDX-License-Identifier: GPL-2.0-only
"""script/test: what runs where, that it runs, and what is made of its results."""

import re
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from tests.suites import runner
from tests.suites.plan import (
    BOTH,
    HERE,
    IN_ONE_KERNEL,
    KERNELS,
    LAB,
    PACKAGES,
    SECONDS,
    SOME,
    WHOLE,
    Suite,
    native,
    plan,
    seconds_of,
    split,
)
from tests.suites.report import Outcome, failures, read_results, verdicts, where_time_went
from tests.suites.runner import Runner, command, fetches

FILES = sorted(path.name for path in Path(LAB).glob("test_*.py"))

RESULTS = """<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" errors="1"
failures="1" skipped="{skips}" tests="4" time="30.0" timestamp="2026-11-29T01:00:40">
<testcase classname="tests.lab.test_nat" name="test_one" time="12.5" />
<testcase classname="tests.lab.test_nat" name="test_two[x.y]" time="7.5" />
{more}</testsuite></testsuites>"""
BAD = """<testcase classname="tests.lab.test_many" name="test_three" time="1.0">
<failure message="no">long</failure></testcase>
<testcase classname="tests.lab.test_many" name="test_four" time="1.0">
<error message="no">long</error></testcase>"""
SKIP = """<testcase classname="tests.lab.test_many" name="test_five" time="0.0">
<skipped message="no">here</skipped></testcase>"""


def outcome(path, text, *, exit_code=0, **more):
    path.write_text(text)
    began = datetime.fromisoformat("2026-11-29T01:00:00").timestamp()
    return Outcome(
        "6.12-a", "6.12", "auto", exit_code, **read_results(path, began, began + 75), **more
    )


@pytest.mark.parametrize("kernel", WHOLE)
def test_every_file_runs_in_every_whole_kernel_but_for_a_reason(kernel):
    suites = [suite for suite in plan([kernel], FILES) if suite.whole]
    ran = sorted(test for suite in suites for test in suite.tests)
    left_out = set() if kernel == "6.12" else set(IN_ONE_KERNEL)
    assert ran == [f"{LAB}/{name}" for name in FILES if f"{LAB}/{name}" not in left_out]
    deselected = {test for suite in suites for test in suite.deselected}
    assert deselected == {test for test in left_out if "::" in test}
    for suite in suites:
        assert {test.partition("::")[0] for test in suite.deselected} <= set(suite.tests)


def test_the_tests_that_the_plan_names_are_there():
    for test in IN_ONE_KERNEL:
        path, _, name = test.partition("::")
        assert re.search(rf"^def {name}", Path(path).read_text(), re.MULTILINE), test
    for files in (SECONDS, *(files for *_, files in SOME)):
        assert set(files) <= set(FILES)


def test_no_engine_and_no_kernel_is_forgotten():
    suites = {suite.name: suite for suite in plan(KERNELS, FILES)}
    assert {suite.kernel for suite in suites.values()} == set(KERNELS)
    assert suites["6.1-bcc"].engine == "bcc"
    assert suites["5.10-no-btf"].options == ("--without-btf",)
    for name in ("5.10", "5.10-no-btf", "6.1-bcc"):
        assert {f"{LAB}/{file}" for file in BOTH} <= set(suites[name].tests)


def test_a_whole_lab_is_split_evenly_by_what_was_measured():
    measured = {"6.12 auto": dict.fromkeys(FILES, 10) | {FILES[0]: 10.0 * (len(FILES) - 1)}}
    suites = plan(["6.12"], FILES, measured)
    assert [len(suite.tests) for suite in suites] in ([1, len(FILES) - 1], [len(FILES) - 1, 1])
    assert suites[0].seconds == suites[1].seconds


def test_what_compiles_is_expected_to_take_longer():
    (hidden,) = [s for s in plan(["5.10"], FILES) if "--without-btf" in s.options]
    by_core = sum(seconds_of(Path(t).name, "5.10", "auto", {}) for t in hidden.tests)
    assert hidden.seconds > 2 * by_core


def test_the_longest_goes_first():
    seconds = [suite.seconds for suite in plan(KERNELS, FILES)]
    assert seconds == sorted(seconds, reverse=True)
    assert split({"a": 5, "b": 4, "c": 3, "d": 3}, 2) == [["a", "d"], ["b", "c"]]


def test_the_packages_are_tested_once_and_not_with_the_rest():
    arguments, _ = command(PACKAGES)
    assert arguments[:2] == ["script/package-test", "--"]
    assert {*PACKAGES.tests, LAB} <= {a.partition("=")[2] for a in command(HERE)[0]}
    assert Path(*PACKAGES.tests).is_dir()


def test_what_runs_without_a_guest():
    assert native(KERNELS) == [HERE, PACKAGES]
    assert native(["6.12"]) == [HERE]
    assert not native(KERNELS, expression="nat")


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_expression_takes_one_guest_with_all_there_is(kernel):
    (suite,) = plan([kernel], FILES, expression="nat")
    assert not suite.deselected
    assert not suite.whole
    if kernel in WHOLE:
        assert len(suite.tests) == len(FILES)
    arguments, environment = command(suite)
    assert arguments[:2] == ["script/vm", kernel]
    assert arguments[arguments.index("-k") + 1] == "nat"
    assert environment["GRETRACE_LAB"] == "required"


def test_a_kernel_is_fetched_once_and_the_first_needed_first():
    suites = plan(KERNELS, FILES)
    fetched = fetches([Suite("here", ""), *suites])
    assert len(fetched) == len(set(fetched)) == len(KERNELS) + 1  # and 5.10's headers
    assert fetched[0] == (suites[0].kernel, suites[0].options)


def test_results_are_read(tmp_path):
    done = outcome(tmp_path / "x", RESULTS.format(skips=0, more=""))
    assert done.passed
    assert done.said == "2 passed"
    assert (done.boot, done.collection, done.seconds) == (40, 10, 75)
    assert done.tests == {"test_nat.py::test_one": 12.5, "test_nat.py::test_two[x.y]": 7.5}
    assert done.files == {"test_nat.py": 20}


def test_what_proves_nothing_has_failed(tmp_path):
    file = tmp_path / "x"
    assert not outcome(file, RESULTS.format(skips=0, more=BAD), exit_code=1).passed
    assert not outcome(file, RESULTS.format(skips=0, more=BAD)).passed
    assert not outcome(file, RESULTS.format(skips=0, more=""), exit_code=125).passed
    assert not outcome(file, RESULTS.format(skips=1, more=SKIP)).passed
    assert outcome(file, RESULTS.format(skips=1, more=SKIP), may_skip=True).passed
    assert not outcome(file, "<testsuites><testsuite").passed
    nothing = Outcome("6.12-a", "6.12", "auto", 0, **read_results(tmp_path / "none", 0, 1))
    assert not nothing.passed
    assert nothing.said == "no result, exit code 0"


def test_the_tables_say_what_failed_and_what_was_slow(tmp_path):
    good = outcome(tmp_path / "x", RESULTS.format(skips=0, more=""))
    bad = outcome(tmp_path / "x", RESULTS.format(skips=0, more=BAD), exit_code=1)
    said = verdicts([good, bad])
    assert re.search(r"6\.12 +auto +ok +2 passed\n", said)
    assert re.search(r"6\.12 +auto +FAILED +2 passed, 2 failed\n", said)
    assert said.endswith("4 tests passed, 1 of 2 suites failed")
    both = replace(good, processor=60), replace(bad, suite="b", processor=7)
    times = where_time_went(both)
    assert re.search(r"6\.12-a +40 +10 +20 +75 +60\n", times)
    assert re.search(r"together +80 .* 150 +67\n", times)
    assert times.index("test_one") < times.index("test_two[x.y]")


def test_all_that_is_known_of_a_failure_is_shown():
    log = "..F\n=== FAILURES ===\n___ test_x ___\nwhy\n--- Captured stdout ---\nwhat\n1 failed\n"
    assert failures(log) == log[4:]
    assert failures("it died\n") == "it died"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Run suites that are Python programs, of kernels that `script/vm` there fetches."""
    (tmp_path / "script").mkdir()
    vm = tmp_path / "script/vm"
    vm.write_text('#!/bin/bash\necho "fetch $*"\n[[ $1 != broken ]]\n')
    vm.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "LOGS", tmp_path)
    said = []

    def run(*programs, places=1):
        suites = [Suite(name, kernel, timeout=5, places=places) for name, kernel, _ in programs]
        code = {name: program for name, _, program in programs}
        made = Runner(
            suites,
            command=lambda suite: ([sys.executable, "-c", code[suite.name]], {"X": suite.name}),
            say=said.append,
        )
        return {outcome.suite: outcome for outcome in made.run()}, "\n".join(said)

    return run


def test_suites_run_beside_each_other_with_their_logs(fake):
    meet = (
        "import os, pathlib, time\nme = os.environ['X']; pathlib.Path(me + '.here').touch()\n"
        "while not pathlib.Path({'a': 'b', 'b': 'a'}[me] + '.here').exists(): time.sleep(0.01)\n"
        "print(me, 'met'); raise SystemExit({'a': 0, 'b': 3}[me])"
    )
    outcomes, said = fake(("a", "", meet), ("b", "6.1", meet))
    assert {name: done.exit_code for name, done in outcomes.items()} == {"a": 0, "b": 3}
    assert "a met" in said
    assert "b met" in said


def test_suites_that_need_more_room_do_not_meet(fake):
    alone = (
        "import os, pathlib, time\nmine = pathlib.Path(os.environ['X'] + '.runs'); mine.touch()\n"
        "time.sleep(0.5)\nothers = [p for p in pathlib.Path().glob('*.runs') if p != mine]\n"
        "mine.unlink(); raise SystemExit(len(others))"
    )
    outcomes, _ = fake(("a", "", alone), ("b", "", alone), places=2)
    assert {name: done.exit_code for name, done in outcomes.items()} == {"a": 0, "b": 0}
    outcomes, _ = fake(("a", "", alone), ("b", "", alone))
    assert any(done.exit_code for done in outcomes.values())


def test_a_kernel_that_cannot_be_fetched_fails_its_suite_and_no_other(fake):
    outcomes, said = fake(("a", "broken", "print('ran')"), ("b", "6.1", "print('other')"))
    assert outcomes["a"].exit_code == 1
    assert outcomes["b"].exit_code == 0
    assert "fetch broken" in said
    assert "ran" not in said
    assert "other" in said


def test_the_processors_that_each_took_are_counted(fake):
    busy = "import time; t = time.process_time()\nwhile time.process_time() < t + 0.5: pass"
    outcomes, _ = fake(("idle", "", "import time; time.sleep(0.5)"), ("busy", "", busy))
    assert outcomes["idle"].processor < 0.3
    assert 0.5 <= outcomes["busy"].processor < 0.8


def test_tests_that_hang_are_ended_with_all_that_they_started(fake):
    hang = (
        "import pathlib, subprocess\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        "print('sleeps as', child.pid, flush=True)\nchild.wait()"
    )
    outcomes, said = fake(("a", "", hang))
    assert outcomes["a"].exit_code == -9
    assert "not done in 5 s" in said
    pid = re.search(r"sleeps as (\d+)", said)[1]
    # Killed; whoever adopted it may not have collected it yet.
    status = Path(f"/proc/{pid}/stat")
    assert not status.exists() or ") Z " in status.read_text()
