# SPDX-License-Identifier: GPL-2.0-only
"""What can be said of the lookup programs on a kernel that may have no GRE to attach them to.

tests/lab/test_lookup_engine.py has the rest.
"""

import json
import subprocess

import pytest

from gretrace.engine import LookupsLost, bcc, core, open_lookups, symbols
from gretrace.engine.btf import module_has_function
from gretrace.engine.contract import LookupKey, LookupStats
from gretrace.engine.core import OBJECTS
from gretrace.engine.wanted import Wanted
from gretrace.errors import PrerequisiteError


def sections():
    listing = subprocess.run(
        ["llvm-objdump", "-h", OBJECTS / "lookup.bpf.o"], capture_output=True, text=True, check=True
    )
    return {line.split()[1] for line in listing.stdout.splitlines() if line[:3].strip().isdigit()}


def test_programs_and_constants_have_the_sections_that_they_are_found_by():
    assert sections() >= {
        "fexit/gre_parse_header",
        "fexit/ip_tunnel_lookup",
        "fexit/ip6gre_tunnel_lookup",
        ".rodata.filter",
        ".rodata.budget",
    }


def test_maps_are_those_that_the_engine_reads():
    dump = subprocess.run(
        ["bpftool", "-j", "btf", "dump", "file", OBJECTS / "lookup.bpf.o"],
        capture_output=True,
        check=True,
    )
    types = json.loads(dump.stdout)["types"]
    maps = {t["name"] for t in types if t["kind"] == "VAR"}
    assert maps >= {"lookups", "decisions", "arrivals", "totals", "windows", "filter", "budget"}


def test_records_have_no_hidden_padding():
    """The key is compared byte by byte in the kernel."""
    for record in (LookupKey, LookupStats):
        whole = sum(getattr(record, name).size for name, _ in record._fields_)
        assert whole == memoryview(record()).nbytes


def test_a_function_that_no_module_has():
    assert not module_has_function("gre", "no_such_function")
    assert not module_has_function("no_such_module", "gre_parse_header_of_nobody")


@pytest.fixture
def kallsyms(monkeypatch, tmp_path):
    """The list of a kernel without BTF for its modules."""
    monkeypatch.setattr(core, "BTF_DIRECTORY", tmp_path)
    monkeypatch.setattr(core, "module_has_function", lambda _module, _name: False)
    monkeypatch.setattr(bcc, "KPROBES", tmp_path)
    monkeypatch.setattr(symbols, "KALLSYMS", tmp_path / "kallsyms")
    return tmp_path / "kallsyms"


@pytest.mark.parametrize("engine", ["auto", "core", "bcc"])
def test_a_kernel_without_the_modules_names_them(kallsyms, engine):
    kallsyms.write_text("ffffffff81000000 t gre_rcv\t[other]\n")
    with pytest.raises(PrerequisiteError, match="modprobe ip_gre"):
        open_lookups(Wanted().to_record(), 16, 0, engine)


def test_a_kernel_without_btf_for_its_modules_is_told_apart(kallsyms):
    kallsyms.write_text("ffffffff81000000 T ip_tunnel_lookup\t[ip_tunnel]\n")
    with pytest.raises(PrerequisiteError, match="no BTF for its modules"):
        open_lookups(Wanted().to_record(), 16, 0, "core")


def test_a_kernel_without_kprobes_has_no_use_for_bcc(monkeypatch, tmp_path):
    monkeypatch.setattr(bcc, "KPROBES", tmp_path / "none")
    with pytest.raises(PrerequisiteError, match="CONFIG_KPROBE_EVENTS"):
        open_lookups(Wanted().to_record(), 16, 0, "bcc")


def test_what_is_over_the_budget_is_no_loss():
    assert LookupsLost(not_shown=5).sentences() == []
    assert len(LookupsLost(overflow=1, ring_full=2, missed=3, not_shown=4).sentences()) == 3
