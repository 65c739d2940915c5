# SPDX-License-Identifier: GPL-2.0-only
"""The table of causes at the end of script/test, from what the lab of a kernel recorded."""

import json

import pytest

from gretrace.verdicts import CAUSES
from tests import causes
from tests.policy.test_registry import CONTRACT

SEEN = {cause: {"test_x.py::test_y": "passed"} for cause in CONTRACT}


def told(tmp_path, *records):
    files = [tmp_path / f"causes-{number}" for number in range(len(records))]
    for file, record in zip(files, records, strict=True):
        file.write_text(json.dumps(record))
    return causes.main([f"6.12={file}" for file in files])


def test_a_lab_that_saw_every_cause_is_well(tmp_path, capsys):
    assert not told(tmp_path, SEEN)
    assert len(capsys.readouterr().out.splitlines()) == len(CAUSES) + 2


@pytest.mark.parametrize("cause", CONTRACT)
def test_each_that_was_not_seen_is_missed(tmp_path, capsys, cause):
    assert told(tmp_path, {name: tests for name, tests in SEEN.items() if name != cause})
    assert f"{cause} MISSING".split() in [
        row.split() for row in capsys.readouterr().out.splitlines()
    ]


def test_what_one_guest_did_not_see_another_may_have(tmp_path):
    first, second = dict(list(SEEN.items())[:9]), dict(list(SEEN.items())[9:])
    assert told(tmp_path, first)
    assert not told(tmp_path, first, second)


def test_a_test_that_failed_shows_nothing(tmp_path, capsys):
    assert told(tmp_path, SEEN | {"ecn": {"test_x.py::test_y": "passed", "test_z": "failed"}})
    assert "FAILED 1 of 2, test_z" in capsys.readouterr().out


def test_a_name_that_no_contract_has_is_told(tmp_path, capsys):
    assert told(tmp_path, SEEN | {"new": {"test_x.py::test_y": "passed"}})
    assert "new, of no contract" in capsys.readouterr().out


def test_a_guest_that_left_nothing_saw_nothing(tmp_path):
    assert causes.main([f"6.12={tmp_path / 'none'}"])


def test_set_ups_of_the_field_are_rows_below_the_causes(tmp_path, capsys):
    row = "field_blind: FOU, wrong key"
    assert not told(tmp_path, SEEN | {row: {"test_told": "passed", "test_mended": "passed"}})
    assert capsys.readouterr().out.splitlines()[-1].split("  ") == [row, "ok 2"]
    assert told(tmp_path, SEEN | {row: {"test_told": "passed", "test_mended": "failed"}})
    assert "FAILED 1 of 2, test_mended" in capsys.readouterr().out.splitlines()[-1]
