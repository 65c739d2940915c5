# SPDX-License-Identifier: GPL-2.0-only
import pytest

from bench import installed, report
from bench.tools import COUNTED_ONLY, DROPPED, LOST, Tool
from gretrace.engine import LookupsLost

RING_FULL = LookupsLost(ring_full=2).sentences()[0]
STATUS = """\
Package: libc
Status: install ok installed
Priority: optional
Installed-Size: 9000

Package: shell
Status: install ok installed
Essential: yes
Installed-Size: 4000
Pre-Depends: libc (>= 2.1)

Package: watcher
Status: install ok installed
Installed-Size: 1000
Depends: libc, absent | compiler-abi (>= 3), reader:any
Description: watches
 Depends: nothing, this line is text

Package: compiler
Status: install ok installed
Installed-Size: 2000
Provides: compiler-abi (= 3)
Depends: watcher

Package: reader
Status: install ok installed
Installed-Size: 500

Package: removed
Status: deinstall ok config-files
Installed-Size: 700
"""


def test_an_installation_is_its_dependencies_without_the_base_system():
    known = installed.packages(STATUS)
    assert installed.beyond_base(known, ["watcher"]) == {
        "watcher": 1.024,
        "compiler": 2.048,
        "reader": 0.512,
    }


def test_a_removed_package_is_not_installed():
    assert "removed" not in installed.packages(STATUS)


def test_gretrace_comes_with_what_it_requires_and_nothing_for_its_tests():
    sizes = installed.distributions("gretrace")
    assert set(sizes) == {"gretrace", "click", "dpkt", "pyroute2", "tabulate"}
    assert all(size > 0.01 for size in sizes.values())


def test_a_missing_package_is_said_by_name():
    (row,) = installed.rows([Tool("x", ("gretrace",), needs=("no-such-package",))])
    assert "no-such-package" in row["error"]


@pytest.mark.parametrize(
    ("told", "said", "events"),
    [
        (LOST, "Lost 12 events\nx\nLost 30 events\n", 42),
        (DROPPED, "5 packets captured\n1 packet dropped by kernel\n", 1),
        (COUNTED_ONLY, "7 packets so far were counted, but\n9 packets so far were counted, but", 9),
        (COUNTED_ONLY, f"9 packets so far were counted\n{RING_FULL}\n", 11),
        (LOST, "nothing of the kind", 0),
    ],
)
def test_what_a_tool_says_that_it_lost_is_read(told, said, events):
    assert told(said) == events


def _measured(tool, running, **more):
    return {
        "work": "accepted",
        "tool": tool,
        "packets": 100,
        "running": running,
        "path": 10.0,
    } | more


def test_events_that_did_not_come_are_counted_whatever_the_tool_says():
    rows = [_measured("nothing", 10.0)]
    rows += [_measured("x", n, each=3.02, shown=120, told=5) for n in (30.0, 20.0, 90.0)]
    _, row = report.tracing(rows)
    assert (row["missing"], row["told"], row["ratio"]) == (180, 5, 2.0)


def test_a_tool_that_never_watched_says_why():
    rows = [_measured("nothing", 10.0), {"work": "accepted", "tool": "x", "error": "a\nno BTF\n"}]
    assert report.tracing(rows)[1]["running"] == "no BTF"
