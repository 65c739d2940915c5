# SPDX-License-Identifier: GPL-2.0-only
"""All that is said of every case, to the letter: no word of a verdict changes unnoticed.

`python -m tests.unit.test_words` writes the files in words/ anew; read what changed in them as
the engineer would who gets it to see.
"""

from pathlib import Path

import pytest

from gretrace.render.record import advice
from gretrace.verdicts import explain
from tests.unit.expected import FAMILIES

DIRECTORY = Path(__file__).with_name("words")
NAMES = {family.__name__.rpartition(".")[2]: family for family in FAMILIES}


def fix_lines(fix):
    note, command = advice(fix)
    yield f"  {fix.where.value}: {note}"
    if command:
        yield f"    # {command}"


def case_lines(name, verdict):
    finding = verdict.finding
    yield f"== {name}"
    yield f"{finding.tunnel}, {finding.confidence.value}: {finding.summary}"
    yield from (f"  seen: {sentence}" for sentence in finding.evidence)
    for fix in finding.fix:
        yield from fix_lines(fix)
    yield f"  way: {' > '.join(finding.path)}"


def words(family):
    """What is said of the cases of a family, as its file has it."""
    lines = [
        line
        for name, (judged, _) in family.EXPECTED.items()
        for line in case_lines(name, explain(judged))
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", NAMES)
def test_words(name):
    assert words(NAMES[name]) == (DIRECTORY / f"{name}.txt").read_text(), (
        "if the new words are right, write them down: python -m tests.unit.test_words"
    )


def test_every_file_is_of_a_family():
    assert {path.stem for path in DIRECTORY.iterdir()} == set(NAMES)


if __name__ == "__main__":
    for each, its_cases in NAMES.items():
        (DIRECTORY / f"{each}.txt").write_text(words(its_cases))
