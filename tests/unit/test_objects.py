# SPDX-License-Identifier: GPL-2.0-only
"""What the package was built with, and for which machines."""

import pytest

from gretrace.engine import core
from gretrace.errors import PrerequisiteError


def test_an_object_of_the_other_byte_order_is_refused_in_one_line(monkeypatch, tmp_path):
    image = bytearray((core.OBJECTS / "drop.bpf.o").read_bytes())
    image[core.EI_DATA] = 3 - image[core.EI_DATA]
    (tmp_path / "drop.bpf.o").write_bytes(image)
    monkeypatch.setattr(core, "OBJECTS", tmp_path)
    with pytest.raises(PrerequisiteError, match=r"other byte order, this machine is (little|big)-"):
        core.open_object("drop")


def test_objects_name_no_folder_of_the_machine_that_built_them():
    for path in core.OBJECTS.glob("*.bpf.o"):
        assert b"./" in path.read_bytes()
        assert bytes(core.OBJECTS.parents[2]) not in path.read_bytes()
