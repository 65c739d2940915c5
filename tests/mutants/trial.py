# SPDX-License-Identifier: GPL-2.0-only
"""Try mutants: the tests that touch what was changed, in a process forked for each.

What the tests only call is exchanged in functions that are loaded already. What runs while they
are imported or collected (module level, class bodies, decorators) is imported anew, in a fork of
a process that has loaded nothing of the project yet.
"""

import ast
import contextlib
import gc
import importlib
import importlib.abc
import importlib.util
import os
import pickle
import resource
import select
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import coverage
import pytest

KILLED, SURVIVED, HUNG = "killed", "survived", "hung"
# Loaded before the first fork: what the tests import of others.
LOADED = ("click", "click.testing", "dpkt", "hypothesis", "pyroute2", "pyroute2.netns", "tabulate")
PLAIN = ["-o", "addopts=", "-o", "filterwarnings=", "-p", "no:terminal", "-p", "no:cacheprovider"]
MEMORY = 4 << 30  # bytes; a mutant that never ends must not take the machine's
SLOW = 10.0  # seconds; a test that takes as long measures something else
COLLECTION = "collection"  # the context of lines that run before any test does


class _Source(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Finds one module, with another source."""

    def __init__(self, path, source):
        self._name = ".".join(Path(path).with_suffix("").parts[1:]).removesuffix(".__init__")
        self._path, self._source = str(Path(path).resolve()), source
        self._is_package = self._path.endswith("__init__.py")

    def find_spec(self, name, _path=None, _target=None):
        if name != self._name:
            return None
        where = [str(Path(self._path).parent)] if self._is_package else None
        return importlib.util.spec_from_file_location(
            name, self._path, loader=self, submodule_search_locations=where
        )

    def get_filename(self, _name):
        return self._path

    def get_data(self, path):
        if path != self._path:
            raise OSError(path)  # there is no compiled one
        return self._source.encode()


class _Verdict:
    """Ends a forked process at the first test that fails, of those that are wanted."""

    def __init__(self, wanted):
        self._order = {name: at for at, name in enumerate(wanted)}

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.nodeid in self._order]
        if len(items) < len(self._order):
            os._exit(1)  # a parameter of a test has another name
        items.sort(key=lambda item: self._order[item.nodeid])

    def pytest_runtest_logreport(self, report):
        if report.failed:
            os._exit(1)

    def pytest_collectreport(self, report):
        if report.failed:
            os._exit(1)


def _fork(do, seconds):
    """Run something in a process of its own; return killed, survived or hung."""
    child = os.fork()
    if not child:
        try:
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            silent = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(silent, stream)
            do()
        except BaseException:  # noqa: BLE001 - whatever it is, the mutant was noticed
            os._exit(1)
        os._exit(0)
    watched = os.pidfd_open(child)
    try:
        if not select.select([watched], [], [], seconds)[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return HUNG
    finally:
        os.close(watched)
    return SURVIVED if os.waitpid(child, 0)[1] == 0 else KILLED


class Importer:
    """A process in which nothing of the project is loaded, and which forks for each mutant."""

    def __init__(self):
        for name in LOADED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        ask, self._asked = os.pipe()
        self._answers, answer = os.pipe()
        if not os.fork():
            os.close(self._asked)
            os.close(self._answers)
            self._serve(os.fdopen(ask, "rb"), os.fdopen(answer, "wb"))
            os._exit(0)
        os.close(ask)
        os.close(answer)
        self._asking = os.fdopen(self._asked, "wb")
        self._answering = os.fdopen(self._answers, "rb")

    def try_out(self, mutant, tests, seconds):
        """Tell what tests, by their node ids, make of a mutant."""
        pickle.dump((mutant.path, mutant.source, tests, seconds), self._asking)
        self._asking.flush()
        return pickle.load(self._answering)

    @staticmethod
    def _serve(asked, answers):
        while True:
            try:
                path, source, tests, seconds = pickle.load(asked)
            except EOFError:
                return

            def do(path=path, source=source, tests=tests):
                sys.meta_path.insert(0, _Source(path, source))
                files = dict.fromkeys(name.partition("::")[0] for name in tests)
                if pytest.main([*PLAIN, *files], plugins=[_Verdict(tests)]):
                    os._exit(1)

            pickle.dump(_fork(do, seconds), answers)
            answers.flush()


class Trials:
    """A plugin of pytest that tries mutants with the tests that were collected."""

    def __init__(self, importer, meter, report, tables):
        self._importer, self._meter, self._report = importer, meter, report
        self._tables = tables
        self.baseline = {}  # node id: (passed, seconds)

    def try_all(self, session, paths):
        self._items = {item.nodeid: item for item in session.items}
        self._lines = self._measure(session)
        failing = sorted(name for name, (passed, _) in self.baseline.items() if not passed)
        if failing:
            sys.exit("fails without any mutant: " + " ".join(failing))
        gc.collect()
        self._functions = {}
        for one in gc.get_objects():
            if type(one).__name__ == "function":
                code = one.__code__
                where = code.co_filename, code.co_firstlineno, code.co_name
                self._functions.setdefault(where, []).append(one)
        gc.freeze()  # only now: what is frozen is not told of
        self._report(self, paths)

    def _measure(self, session):
        """Run every test once; return the tests that run a line, by file and line."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            with os.fdopen(writing, "wb") as told:
                pickle.dump(self._run_measured(session), told)
            os._exit(0)
        os.close(writing)
        self._meter.stop()
        with os.fdopen(reading, "rb") as told:
            self.baseline, lines = pickle.load(told)
        os.waitpid(child, 0)
        return lines

    def _run_measured(self, session):
        results = {}

        class Results:
            def pytest_runtest_logreport(self, report):
                passed, seconds = results.get(report.nodeid, (True, 0.0))
                results[report.nodeid] = passed and not report.failed, seconds + report.duration

        session.config.pluginmanager.register(Results())
        for item in session.items:
            self._meter.switch_context(item.nodeid)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        self._meter.stop()
        data = self._meter.get_data()
        lines = {
            file: {n: set(by) for n, by in data.contexts_by_lineno(file).items()}
            for file in data.measured_files()
        }
        return results, lines

    def tests_of(self, mutant):
        """Return the function that was changed, if it is only called, and the tests to ask."""
        path = str(Path(mutant.path).resolve())
        lines = self._lines.get(path, {})
        function = _function_at(Path(path).read_text(), mutant.line)
        if function is not None:
            body = range(function.body[0].lineno, function.end_lineno + 1)
            by = set().union(*(lines.get(n, set()) for n in body))
            if mutant.line >= body.start and COLLECTION not in by:
                first = min([function.lineno, *(d.lineno for d in function.decorator_list)])
                loaded = self._functions.get((path, first, function.name), [])
                return (loaded if by else []), self._quickest(by)
        # What a module holds, a row or a table, is looked at without running a line of it.
        looks = {name for name in self._items if name.partition("::")[0] in self._tables}
        return None, self._quickest(looks.union(*lines.values()))

    def _quickest(self, names):
        return sorted(
            (n for n in names if n in self._items and self.baseline[n][1] < SLOW),
            key=lambda name: self.baseline[name][1],
        )

    def try_out(self, mutant):
        """Tell what the tests make of a mutant."""
        functions, tests = self.tests_of(mutant)
        if not tests:
            return SURVIVED
        seconds = 10 + 5 * sum(self.baseline[name][1] for name in tests)
        if not functions:
            # Few files are quickly collected; those with most of the tests know the module best.
            files = Counter(name.partition("::")[0] for name in tests)
            first = {file for file, _ in files.most_common(2)}
            for is_first in (True, False):
                asked = [name for name in tests if (name.partition("::")[0] in first) == is_first]
                outcome = self._importer.try_out(mutant, asked, seconds) if asked else SURVIVED
                if outcome != SURVIVED:
                    break
            return outcome

        def do():
            self._exchange(mutant, functions)
            for name in tests:
                item = self._items[name]
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)

        return _fork(do, seconds)

    @staticmethod
    def _exchange(mutant, functions):
        file = functions[0].__code__.co_filename
        ours = functions[0].__code__
        pending = [compile(mutant.source, file, "exec")]
        while pending:
            code = pending.pop()
            if (code.co_firstlineno, code.co_name) == (ours.co_firstlineno, ours.co_name):
                for function in functions:
                    function.__code__ = code
                return
            pending += [c for c in code.co_consts if isinstance(c, type(code))]
        raise LookupError(file)

    def pytest_runtest_logreport(self, report):
        # In a fork that tries a mutant; the first run of all has a plugin of its own.
        if report.failed and self.baseline:
            os._exit(1)


def _function_at(source, line):
    """Return the outermost function or method that has a line, or None."""
    pending = list(ast.parse(source).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.ClassDef):
            pending += node.body
        elif isinstance(node, ast.FunctionDef) and node.lineno <= line <= node.end_lineno:
            return node
    return None


def run(paths, tests, tables, report):
    """Collect tests, run each once, and call `report` with the trials and the modules' paths.

    `tables` are those files of `tests` that look at what modules hold.
    """
    importer = Importer()
    meter = coverage.Coverage(
        data_file=None, source=["src/gretrace/kernel", "src/gretrace/verdicts"], config_file=False
    )
    meter.start()
    meter.switch_context(COLLECTION)
    trials = Trials(importer, meter, report, tables)

    class Loop:
        def pytest_runtestloop(self, session):
            if session.testsfailed:
                sys.exit("the tests cannot be collected")
            trials.try_all(session, paths)
            return True

    started = time.monotonic()
    pytest.main([*PLAIN, *tests], plugins=[Loop(), trials])
    return time.monotonic() - started
