# SPDX-License-Identifier: GPL-2.0-only
"""Prometheus' rules ask for metrics that there are, and do what they are for."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gretrace.service.metrics import Exposition
from prometheus.rules import rules
from tests.unit.test_serve import state

FOLDER = Path(__file__).parents[2] / "prometheus"
WRITTEN = FOLDER / "gretrace.rules.yml"


def test_no_rule_asks_for_a_metric_that_there_is_not():
    text = Exposition().text(state()).decode()
    told = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(text)
    }
    asked = re.findall(r"(?<![:\w])gretrace_\w+", rules())
    assert len(asked) > 50
    assert set(asked) <= told


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is Debian's prometheus")
@pytest.mark.parametrize(
    ("what", "file"), [("check", WRITTEN), ("test", "gretrace.rules.test.yml")]
)
def test_promtool_agrees(what, file):
    told = subprocess.run(
        ["promtool", what, "rules", file], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
