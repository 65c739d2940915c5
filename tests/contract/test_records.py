# SPDX-License-Identifier: GPL-2.0-only
"""The records that user space reads are those that the programs write, to the byte."""

import ctypes
import functools
import json
import subprocess
from pathlib import Path

import pytest

from gretrace.engine import contract
from gretrace.engine.contract import (
    Death,
    DeathKey,
    DropKey,
    DropMark,
    DropRoom,
    DropStats,
    DropTotals,
    FilterMatch,
    Generation,
    GreTuple,
    LookupBudget,
    LookupEvent,
    LookupKey,
    LookupMark,
    LookupStats,
    LookupTotals,
    ResponderConfig,
    ResponderCounters,
    ResponderDialect,
    ResponderEvent,
    ResponderOutcome,
    TupleFilter,
)
from gretrace.engine.core import OBJECTS
from gretrace.engine.programs import MapInfo, ProgramInfo

HEADER = Path(__file__).parents[2] / "bpf" / "gretrace.h"
# Each record and the object that has it.
STRUCTURES = {
    "gre_tuple": ("drop", GreTuple),
    "tuple_filter": ("drop", TupleFilter),
    "drop_key": ("drop", DropKey),
    "drop_stats": ("drop", DropStats),
    "generation": ("drop", Generation),
    "drop_room": ("drop", DropRoom),
    "death_key": ("drop", DeathKey),
    "death": ("drop", Death),
    "drop_totals": ("drop", DropTotals),
    "lookup_key": ("lookup", LookupKey),
    "lookup_stats": ("lookup", LookupStats),
    "lookup_totals": ("lookup", LookupTotals),
    "lookup_budget": ("lookup", LookupBudget),
    "responder_config": ("keepalive", ResponderConfig),
    "responder_counters": ("keepalive", ResponderCounters),
}
# A ring buffer has no type, so what is written there is in no object's BTF.
UNTYPED = {"responder_event": ResponderEvent, "lookup_event": LookupEvent}
ENUMS = {
    "drop_mark": ("DROP_", DropMark),
    "lookup_mark": ("LOOKUP_", LookupMark),
    "filter_match": ("MATCH_", FilterMatch),
    "responder_dialect": ("DIALECT_", ResponderDialect),
    "responder_outcome": ("OUTCOME_", ResponderOutcome),
}

KERNEL_STRUCTURES = [
    ("bpf_prog_info", ProgramInfo, ["id", "nr_map_ids", "map_ids", "name", "recursion_misses"]),
    ("bpf_map_info", MapInfo, ["name"]),
]


@functools.cache
def btf(stem):
    dump = subprocess.run(
        ["bpftool", "-j", "btf", "dump", "file", OBJECTS / f"{stem}.bpf.o"],
        capture_output=True,
        check=True,
    )
    return json.loads(dump.stdout)["types"]


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_agree(name):
    stem, mirror = STRUCTURES[name]
    types = btf(stem)
    (built,) = [t for t in types if t["kind"] == "STRUCT" and t["name"] == name]
    members = {m["name"]: m["bits_offset"] // 8 for m in built["members"]}
    fields = {field: getattr(mirror, field).offset for field, _ in mirror._fields_}
    assert fields == members
    assert ctypes.sizeof(mirror) == built["size"]
    sizes = {m["name"]: _size(types, m["type_id"]) for m in built["members"]}
    assert {field: getattr(mirror, field).size for field in fields} == sizes


def _size(types, type_id):
    described = next(t for t in types if t["id"] == type_id)
    if described["kind"] == "ARRAY":
        return described["nr_elems"] * _size(types, described["type_id"])
    return described["size"] if "size" in described else _size(types, described["type_id"])


def test_every_structure_of_the_header_is_mirrored():
    text = HEADER.read_text()
    assert {line.split()[1] for line in text.splitlines() if line.startswith("struct ")} == {
        *STRUCTURES,
        *UNTYPED,
    }


def test_enums_and_sizes_agree(tmp_path):
    """They are not all used in a way that leaves them in BTF, so the compiler is asked."""
    asserts = [
        f'_Static_assert({prefix}{member.name} == {member.value}, "{member.name}");'
        for prefix, enum in ENUMS.values()
        for member in enum
    ]
    asserts += [
        f'_Static_assert({name} == {getattr(contract, name)}, "{name}");'
        for name in (
            *("SAMPLE_SIZE", "PLACE_SIZE", "HEADER_SIZE", "NAME_SIZE"),
            "LOOKUP_WINDOW_NS",
            *("RESPONDER_RATE", "RESPONDER_BURST_NS"),
        )
    ]
    asserts += [
        f'_Static_assert(offsetof(struct {struct}, {field}) == {offset}, "{field}");'
        for struct, mirror, fields in KERNEL_STRUCTURES
        for field in fields
        for offset in [getattr(mirror, field).offset]
    ]
    for name, mirror in UNTYPED.items():
        size = ctypes.sizeof(mirror)
        asserts.append(f'_Static_assert(sizeof(struct {name}) == {size}, "{name}");')
        for field, _ in mirror._fields_:
            offset = getattr(mirror, field).offset
            asserts.append(f'_Static_assert(offsetof(struct {name}, {field}) == {offset}, "");')
    source = tmp_path / "check.c"
    includes = ["<stddef.h>", "<linux/types.h>", "<linux/bpf.h>", f'"{HEADER}"']
    source.write_text("\n".join([f"#include {i}" for i in includes] + asserts) + "\n")
    done = subprocess.run(
        ["clang", "-fsyntax-only", source], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_enum_value_of_the_header_is_mirrored():
    text = HEADER.read_text()
    for prefix, enum in ENUMS.values():
        values = {word for line in text.splitlines() if (word := line.strip()).startswith(prefix)}
        assert len(values) == len(enum)
