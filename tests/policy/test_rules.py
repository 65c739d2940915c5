# SPDX-License-Identifier: GPL-2.0-only
"""Prometheus' rules are those of the causes and metrics that there are."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gretrace.service.metrics import Exposition
from gretrace.verdicts import CAUSES
from prometheus.rules import name_of, rules
from tests.unit.test_serve import state

FOLDER = Path(__file__).parents[2] / "prometheus"
WRITTEN = FOLDER / "gretrace.rules.yml"


def test_the_file_is_as_the_registry_has_it():
    how = "PYTHONPATH=. .venv/bin/python prometheus/rules.py > prometheus/gretrace.rules.yml"
    assert rules() == WRITTEN.read_text(), f"write it anew: {how}"


def test_each_cause_has_one_alert():
    names = re.findall(r"^  - alert: (.*)$", rules(), re.MULTILINE)
    assert len(names) == len(set(names))
    assert {name_of(cause) for cause in CAUSES} <= set(names)


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
