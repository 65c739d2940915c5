# SPDX-License-Identifier: GPL-2.0-only
"""What a program that is compiled where it runs is told of the kernel, held against bpftool."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from gretrace.engine import bcc, drop_reasons, layout, tracepoints
from gretrace.engine.btf import field_offsets
from gretrace.engine.compiler import load_bcc
from gretrace.engine.contract import DropRoom, LookupBudget, TupleFilter
from gretrace.errors import PrerequisiteError

KFREE_SKB = """\
name: kfree_skb
format:
	field:void * location;	offset:16;	size:8;	signed:0;
	field:enum skb_drop_reason reason;	offset:36;	size:4;	signed:0;

print fmt: "reason: %s", __print_symbolic(REC->reason, { 2, "NOT_SPECIFIED" }, { 3, "NO_SOCKET" })
"""
FIELDS = [("sk_buff", "dev"), ("sk_buff", "tail"), ("net_device", "nd_net"), ("net", "ns")]


@pytest.fixture
def tracefs(monkeypatch, tmp_path):
    """A tracefs that describes one tracepoint."""
    monkeypatch.setattr(tracepoints, "TRACEFS", (tmp_path / "none", tmp_path))
    directory = tmp_path / "events/skb/kfree_skb"
    directory.mkdir(parents=True)
    (directory / "format").write_text(KFREE_SKB)
    return directory


@pytest.fixture
def no_btf(monkeypatch):
    """A kernel without BTF."""
    monkeypatch.setattr(layout, "field_offsets", lambda _wanted: {})
    monkeypatch.setattr(layout, "kernel_has_enum", lambda _name: None)
    monkeypatch.setattr("gretrace.engine.btf.kernel_enum", lambda _name: {})


def test_fields_lie_where_bpftool_says():
    types = json.loads(
        subprocess.run(
            ["bpftool", "-j", "btf", "dump", "id", "1"], capture_output=True, check=True
        ).stdout
    )["types"]
    found = field_offsets([*FIELDS, ("sk_buff", "no_such_field"), ("no_such_structure", "dev")])
    by_id = {t["id"]: t for t in types}
    expected = {}
    for structure, field in FIELDS:
        (described,) = [t for t in types if t["kind"] == "STRUCT" and t["name"] == structure]
        expected[structure, field] = offset(by_id, described, field) // 8
    assert found == expected


def offset(by_id, described, field):
    for member in described["members"]:
        if member["name"] == field:
            return member["bits_offset"]
        inner = by_id[member["type_id"]]
        if member["name"] == "(anon)" and inner["kind"] in ("STRUCT", "UNION"):
            inside = offset(by_id, inner, field)
            if inside is not None:
                return member["bits_offset"] + inside
    return None


@pytest.mark.usefixtures("tracefs", "no_btf")
def test_the_sources_are_told_all_that_they_use(monkeypatch, tmp_path):
    """Whatever is in capitals must be defined, or an old kernel finds out."""
    monkeypatch.setattr(layout, "CACHE", tmp_path)
    constants = {"filter": TupleFilter(), "budget": LookupBudget(), "room": DropRoom()}
    for path in bcc.SOURCES.glob("*.c"):
        source = path.read_text()
        told = layout.definitions(source, [], lambda fields: dict.fromkeys(fields, 8))
        used = set(re.findall(r"\b(?:OFFSET|HAS_ENUM|HAS_FIELD|ENUM)_\w+", source))
        assert used == set(re.findall(r"#define (\w+)", told))
        for name in re.findall(r"\bCONSTANT_(\w+)", source):
            assert name in constants


@pytest.mark.usefixtures("tracefs", "no_btf")
def test_headers_are_asked_once_for_all_programs(monkeypatch, tmp_path):
    monkeypatch.setattr(layout, "CACHE", tmp_path)
    sources = [path.read_text() for path in bcc.SOURCES.glob("*.c")]
    asked = []

    def ask(fields):
        asked.append(fields)
        return dict.fromkeys(fields, 8)

    for source in sources:
        layout.definitions(source, sources, ask)
    assert len(asked) == 1


def test_headers_are_asked_again_for_other_fields(monkeypatch, tmp_path):
    monkeypatch.setattr(layout, "CACHE", tmp_path / "cache")
    asked = []

    def ask(fields):
        asked.append(fields)
        return dict.fromkeys(fields, 24)

    for _ in range(2):
        assert layout.cached(FIELDS, ask) == dict.fromkeys(FIELDS, 24)
    assert len(asked) == 1
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_text("torn")
    assert layout.cached(FIELDS, ask) == dict.fromkeys(FIELDS, 24)
    assert layout.cached(FIELDS[:1], ask) == {FIELDS[0]: 24}
    assert len(asked) == 3


def test_a_cache_that_cannot_be_written_does_not_matter(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(layout, "CACHE", tmp_path / "file")
    assert layout.cached(FIELDS, lambda fields: dict.fromkeys(fields, 1))[FIELDS[0]] == 1


def test_headers_tell_where_fields_lie(monkeypatch, tmp_path):
    include = tmp_path / "include"
    shutil.copytree(bcc.SOURCES / "include", include)
    for header in layout.HEADERS:
        (include / header).parent.mkdir(exist_ok=True)
        (include / header).touch()
    (include / layout.HEADERS[0]).write_text(
        "#define offsetof(type, member) __builtin_offsetof(type, member)\n"
        "struct sk_buff { char before[24]; union { void *dev; int other; }; int tail; };\n"
    )
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(tmp_path))
    fields = [("sk_buff", "dev"), ("sk_buff", "tail"), ("sk_buff", "before")]
    assert list(bcc.ask_headers(fields).values()) == [24, 32, 0]
    assert os.environ["BCC_KERNEL_SOURCE"] == str(tmp_path)


def test_code_that_returns_no_constant_is_not_believed():
    assert bcc._returned(b"\xb7\x00\x00\x00\x20\x00\x00\x00") == 32
    with pytest.raises(PrerequisiteError):
        bcc._returned(b"\xbf\x10\x00\x00\x00\x00\x00\x00")


def test_without_btf_and_headers_the_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(bcc, "MODULES", tmp_path)
    monkeypatch.setattr(bcc, "KHEADERS", tmp_path / "none")
    with pytest.raises(PrerequisiteError, match=f"linux-headers-{re.escape(os.uname().release)}"):
        bcc.ask_headers(FIELDS)


@pytest.mark.usefixtures("no_btf")
def test_without_btf_the_tracepoint_tells_of_reasons(tracefs):
    assert layout.has_enum("skb_drop_reason")
    assert drop_reasons() == {2: "NOT_SPECIFIED", 3: "NO_SOCKET"}
    (tracefs / "format").write_text(KFREE_SKB.replace(" reason;", " other;"))
    assert not layout.has_enum("skb_drop_reason")
    (tracefs / "format").unlink()
    assert drop_reasons() == {}
    with pytest.raises(PrerequisiteError, match="mount -t tracefs"):
        layout.has_enum("skb_drop_reason")


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("", "not iovisor's; install it: python3-bpfcc"),
        (
            "raise OSError('libLLVM-14.so.1: not found')",
            "cannot load its library or LLVM .*libbpfcc",
        ),
        ("import nothing_of_that_name", "cannot load its library or LLVM .*nothing_of_that_name"),
        ("None.bpf_new_function", "cannot load its library or LLVM .*bpf_new_function"),
    ],
)
def test_a_bcc_that_is_of_no_use_is_told_apart(monkeypatch, tmp_path, module, said):
    (tmp_path / "bcc.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "bcc", None)  # so that what was there comes back
    del sys.modules["bcc"]
    with pytest.raises(PrerequisiteError, match=said):
        load_bcc()


def test_settings_are_written_as_c_does():
    record = TupleFilter(match=3, gre_key=0xFFFFFFFF)
    record.remote[:4] = b"\x14\x01\x01\x02"
    zeros = ", ".join(["0"] * 16)
    remote = ", ".join(["20", "1", "1", "2"] + ["0"] * 12)
    assert bcc.initializer(record) == f"{{3, 0, 0, 4294967295, {{{remote}}}, {{{zeros}}}}}"
