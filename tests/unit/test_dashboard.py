# SPDX-License-Identifier: GPL-2.0-only
"""Grafana's dashboard asks for metrics that there are, and is as its library writes it."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gretrace.service.metrics import Exposition
from tests.unit.test_serve import state

WRITTEN = Path(__file__).parents[2] / "prometheus/gretrace.dashboard.json"
BOARD = json.loads(WRITTEN.read_text())


def test_every_panel_has_a_number_a_place_and_queries_of_its_own():
    numbers = [panel["id"] for panel in BOARD["panels"]]
    assert len(numbers) == len(set(numbers)) > 15
    places = [tuple(panel["gridPos"].values()) for panel in BOARD["panels"]]
    assert len(places) == len(set(places))
    for panel in BOARD["panels"]:
        if panel["type"] != "row":
            names = [target["refId"] for target in panel["targets"]]
            assert names == list("ABC"[: len(names)])
            assert panel["title"]
            assert panel["description"]


def test_no_panel_asks_for_a_metric_that_there_is_not():
    told = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(Exposition().text(state()).decode())
    }
    asked = set(re.findall(r"\bgretrace_\w+", json.dumps(BOARD["panels"])))
    assert len(asked) > 10
    assert asked <= told
    choices = {each["name"] for each in BOARD["templating"]["list"]}
    assert set(re.findall(r"\$(\w+)", WRITTEN.read_text())) <= {*choices, "__rate_interval"}


def test_the_file_is_as_the_library_writes_it():
    pytest.importorskip("grafana_foundation_sdk", reason="pip install grafana-foundation-sdk")
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from prometheus.dashboard import text

    assert text() == WRITTEN.read_text()
    assert Dashboard.from_json(BOARD).to_json()["uid"] == "gretrace"
