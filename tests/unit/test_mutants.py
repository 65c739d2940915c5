# SPDX-License-Identifier: GPL-2.0-only
"""script/mutate: which mutants there are, and the list of those that may survive."""

from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray", reason="script/mutate installs what it needs")

from tests.mutants.__main__ import LIST, known, shown
from tests.mutants.operators import mutants

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a in b\n", {"x = a not in b"}),
        ("x = a not in b\n", {"x = a in b"}),
        ("x = (a, b)\n", {"x = ( b)", "x = (a,)"}),
        ("x = (a,)\n", {"x = ()"}),
        ("f(a, key=b)\n", {"f(a,)"}),
        ("def f() -> bool | None:\n    return None\n", {"return False"}),
        ("def f() -> int | None:\n    return None\n", set()),
        ("x = [a for a in b]\n", set()),
        ("@dataclass(frozen=True)\nclass B:\n    c: int | None\n", set()),
        ("__all__ = ['a', 'b']\n", set()),
    ],
)
def test_what_becomes_of_a_line(tmp_path, source, expected):
    path = tmp_path / "x.py"
    path.write_text(source)
    made = {line for mutant in mutants(path) for line in mutant.new}
    assert {" ".join(line.split()) for line in made} == expected


def test_a_survivor_has_a_reason():
    key = ("src/x.py", ("a == 1",), ("a != 1",))
    assert known(f"# why\n\n{shown(key)}\n  it is\n  the same\n") == {key: "it is the same"}
    with pytest.raises(ValueError, match="no reason"):
        known(shown(key))


def test_survivors_are_of_lines_that_are_there():
    for path, old, _ in known(LIST.read_text()):
        lines = {line.strip() for line in (ROOT / path).read_text().splitlines()}
        assert set(old) <= lines, (path, old)
