# SPDX-License-Identifier: GPL-2.0-only
"""Prometheus' rules are those of the causes that there are."""

import re
from pathlib import Path

from gretrace.verdicts import CAUSES
from prometheus.rules import name_of, rules

WRITTEN = Path(__file__).parents[2] / "prometheus/gretrace.rules.yml"


def test_the_file_is_as_the_registry_has_it():
    how = "PYTHONPATH=. .venv/bin/python prometheus/rules.py > prometheus/gretrace.rules.yml"
    assert rules() == WRITTEN.read_text(), f"write it anew: {how}"


def test_each_cause_has_one_alert():
    names = re.findall(r"^  - alert: (.*)$", rules(), re.MULTILINE)
    assert len(names) == len(set(names))
    assert {name_of(cause) for cause in CAUSES} <= set(names)
