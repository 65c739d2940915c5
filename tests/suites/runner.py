# SPDX-License-Identifier: GPL-2.0-only
"""Keep some suites running at once until none is left, and kernels being fetched meanwhile."""

import os
import resource
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.suites.plan import LAB, PACKAGES
from tests.suites.report import Outcome, read_results

# One more than the processors that CI has: a fifth of a suite's time it waits for something.
AT_ONCE = 3
GUEST_TIMEOUT = 3000  # seconds
LOGS = Path(".cache/test")
PYTEST = ".venv/bin/pytest"


def command(suite):
    """The command of a suite, and what its environment has more."""
    results = [
        "-q",
        "-o",
        f"cache_dir=.cache/pytest-{suite.name}",
        f"--junitxml={results_of(suite)}",
    ]
    if suite == PACKAGES:
        return ["script/package-test", "--", *results], {}
    if not suite.kernel:
        return [PYTEST, f"--ignore={LAB}", *(f"--ignore={t}" for t in PACKAGES.tests), *results], {}
    selection = [*suite.tests, *(f"--deselect={test}" for test in suite.deselected)]
    if suite.expression:
        selection += ["-k", suite.expression]
    guest = ["script/vm", suite.kernel, *suite.options, "--timeout", str(GUEST_TIMEOUT), "--"]
    return [*guest, PYTEST, *selection, *results], {
        "GRETRACE_LAB": "required",
        "GRETRACE_ENGINE": suite.engine,
        "GRETRACE_CAUSES": str(causes_of(suite)),
    }


def log_of(suite):
    return LOGS / suite.name


def results_of(suite):
    return LOGS / f"{suite.name}.xml"


def causes_of(suite):
    return LOGS / f"causes-{suite.name}"


def fetches(suites):
    """What must be fetched, once each: (kernel, options), in the order of its use."""
    return list(dict.fromkeys((s.kernel, s.options) for s in suites if s.kernel))


def processor_seconds():
    """What all the children that have ended took of the processors, with their own children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass
class Running:
    """A suite that has been started."""

    suite: object
    process: subprocess.Popen
    started: float = field(default_factory=time.time)

    def kill(self):
        """End a suite without a kernel, with all that its tests have started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Runner:
    """Runs suites in their order, each as soon as its kernel is there and a place is free."""

    def __init__(self, suites, *, command=command, at_once=AT_ONCE, say=print):
        self.waiting, self.running, self.outcomes = list(suites), [], []
        self.command, self.at_once, self.say = command, at_once, say
        self.to_fetch = fetches(suites)
        self.fetching, self.fetched = None, {}  # (kernel, options) -> exit code

    def run(self):
        """Run all; nothing that was started is left when this returns or raises."""
        try:
            while self.waiting or self.running:
                self.fetch()
                self.start()
                self.finish()
                time.sleep(0.2)
        finally:
            for one in self.running:
                if not one.suite.kernel:
                    one.kill()
            for process in [r.process for r in self.running] + [p for p in (self.fetching,) if p]:
                process.terminate()
                process.wait()
        return self.outcomes

    def fetch(self):
        if self.fetching and self.fetching.poll() is not None:
            self.fetched[self.to_fetch.pop(0)] = self.fetching.returncode
            self.fetching = None
        if self.to_fetch and not self.fetching:
            kernel, options = self.to_fetch[0]
            with (LOGS / f"fetch-{kernel}").open("ab") as log:
                self.fetching = subprocess.Popen(
                    ["script/vm", kernel, *options, "--fetch"], stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log,
                )  # fmt: skip

    def start(self):
        for suite in list(self.waiting):
            state = self.fetched.get((suite.kernel, suite.options)) if suite.kernel else 0
            taken = sum(one.suite.places for one in self.running)
            if state is None or (state == 0 and taken + suite.places > self.at_once):
                continue
            self.waiting.remove(suite)
            if state:
                log_of(suite).write_bytes((LOGS / f"fetch-{suite.kernel}").read_bytes())
                self.end(suite, state, time.time())
                continue
            arguments, environment = self.command(suite)
            with log_of(suite).open("wb") as log:
                process = subprocess.Popen(
                    arguments, env=os.environ | environment, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, start_new_session=not suite.kernel,
                )  # fmt: skip
            self.running.append(Running(suite, process))
            self.say(f"--- {suite.name}: started")

    def finish(self):
        for one in list(self.running):
            if not one.suite.kernel and time.time() - one.started > one.suite.timeout:
                self.say(f"--- {one.suite.name}: not done in {one.suite.timeout} s, ended")
                one.kill()
            before = processor_seconds()
            if one.process.poll() is not None:
                self.running.remove(one)
                used = processor_seconds() - before
                self.end(one.suite, one.process.returncode, one.started, used)

    def end(self, suite, exit_code, started, used=0):
        self.outcomes.append(
            Outcome(
                suite=suite.name,
                kernel=suite.kernel or os.uname().release,
                engine=suite.engine,
                exit_code=exit_code,
                processor=used,
                may_skip=not suite.kernel,
                **read_results(results_of(suite), started, time.time()),
            )
        )
        self.say(log_of(suite).read_text(errors="replace").rstrip())
        last = self.outcomes[-1]
        self.say(f"--- {suite.name}: {last.said} after {last.seconds:.0f} s")
