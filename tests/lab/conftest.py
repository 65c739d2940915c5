"""Lab tests need a kernel with GRE; without one they say why they are skipped.

script/test sets GRETRACE_LAB=required inside the guests, where a skip would hide the job.
"""

import os
import subprocess

import pytest

from gretrace.features import has_gre


def missing():
    if os.geteuid() != 0:
        return "not root"
    subprocess.run(["modprobe", "-q", "ip_gre"], check=False)
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
