# SPDX-License-Identifier: GPL-2.0-only
"""Lab tests need a kernel with GRE; without one they say why they are skipped.

script/test sets GRETRACE_LAB=required inside the guests, where a skip would hide the job.
"""

import json
import os
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import pytest

from gretrace.engine import open_drops
from gretrace.engine.btf import BTF_DIRECTORY
from gretrace.engine.wanted import Wanted
from gretrace.host import firewall
from gretrace.host.features import has_gre
from tests.lab import journal
from tests.lab.session import ENGINE, PATIENCE, causes_seen, running_sessions, warm_up
from tests.lab.trace import drop_log

outcomes = defaultdict(dict)  # by cause, and set-up of the field, of the tests that saw it
BEGAN, DROPS = pytest.StashKey(), pytest.StashKey()


def missing():
    if os.geteuid() != 0:
        return "not root"
    # Once: namespaces that are made from now on have all the fallback devices.
    subprocess.run(["modprobe", "-qa", "ip_gre", "ip6_gre"], check=False)
    if not has_gre():
        return f"the running kernel ({os.uname().release}) has no GRE"
    return None


@pytest.fixture(scope="session", autouse=True)
def kernel():
    reason = missing()
    if reason and os.environ.get("GRETRACE_LAB") == "required":
        pytest.fail(f"the lab cannot run: {reason}")
    if reason:
        pytest.skip(f"{reason}; script/test runs the lab in a guest", allow_module_level=True)


@pytest.fixture(scope="session", autouse=True)
def compiled(kernel):  # noqa: ARG001 - it loads ip_gre
    """Let bcc do what it does once for a kernel, which takes longer than a test waits."""
    if ENGINE == "bcc" or not (BTF_DIRECTORY / "vmlinux").exists():
        open_drops(Wanted(netns=1).to_record(), 1, ENGINE).close()


@pytest.fixture(scope="session", autouse=True)
def warm(kernel):  # noqa: ARG001 - it says why there is no lab
    warm_up()


@pytest.fixture(scope="session", autouse=True)
def patient():
    """Wait for nft however long it takes: how long it may, unit tests hold, and what it says, labs.

    An emulated machine whose processors others need as well takes longer than any router.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(firewall, "PATIENCE", PATIENCE)
        patch.setattr(firewall, "AT_ONCE", 2 * PATIENCE)
        yield


@pytest.fixture(scope="session", autouse=True)
def drops(kernel, request):  # noqa: ARG001 - it says why there is no lab
    with drop_log() as log:
        request.config.stash[DROPS] = log
        yield
        del request.config.stash[DROPS]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    journal.begin_test()
    item.stash[BEGAN] = time.monotonic()
    if log := item.config.stash.get(DROPS, None):
        log.begin_test()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):  # noqa: ARG001
    report = (yield).get_result()
    if report.failed:
        explain_failure(item, report)
    if (row := field_row(item)) and (report.when == "call" or report.failed):
        outcomes[row][item.nodeid] = report.outcome
    if report.when == "call":
        for cause in causes_seen:
            outcomes[cause][item.nodeid] = report.outcome
    # A session that several tests share tells all of them once more at its end.
    causes_seen.clear()


def field_row(item):
    """Name the set-up of the field that a test is of, if it is of one."""
    name = getattr(item, "callspec", None) and item.callspec.params.get("name")
    is_of_field = item.path.name.startswith("test_field_")
    return f"{item.path.stem.removeprefix('test_')}: {name}" if is_of_field and name else None


def explain_failure(item, report):
    """Put into the report all that is needed to understand it."""
    for session in running_sessions:
        session.tell()
    report.sections.append(("what was done, and when", journal.told(item.stash[BEGAN])))
    log = item.config.stash.get(DROPS, None)
    places = log.told() if log else "unknown: this kernel shows no tracefs"
    report.sections.append(("where the kernel freed packets meanwhile, and how many", places))


def pytest_sessionfinish():
    """Leave for script/test which causes were seen, and what became of the tests that saw them."""
    if path := os.environ.get("GRETRACE_CAUSES"):
        Path(path).write_text(json.dumps(outcomes))
