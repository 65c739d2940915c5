# SPDX-License-Identifier: GPL-2.0-only
"""What the running kernel's BTF tells of its functions and enums."""

import ctypes
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_int, c_uint32, c_void_p
from pathlib import Path

from gretrace.engine.binding import bind

BTF_DIRECTORY = Path("/sys/kernel/btf")

_KIND_STRUCT, _KIND_UNION, _KIND_ENUM, _KIND_FUNC = 4, 5, 6, 12

_load_vmlinux = bind("btf__load_vmlinux_btf", c_void_p)
_load_module = bind("btf__load_module_btf", c_void_p, c_char_p, c_void_p)
_find = bind("btf__find_by_name_kind", c_int, c_void_p, c_char_p, c_uint32)
_type_by_id = bind("btf__type_by_id", c_void_p, c_void_p, c_uint32)
_string = bind("btf__name_by_offset", c_char_p, c_void_p, c_uint32)
_free = bind("btf__free", None, c_void_p)


def kernel_has_function(name: str) -> bool:
    """Whether a function is built into the running kernel; False where it has no BTF."""
    with _kernel_btf() as btf:
        return bool(btf) and _find(btf, name.encode(), _KIND_FUNC) > 0


def module_has_function(module: str, name: str) -> bool:
    """Whether a module is loaded, has BTF and defines a function; built in counts as loaded."""
    with _kernel_btf() as btf:
        if not btf:
            return False
        if _find(btf, name.encode(), _KIND_FUNC) > 0:
            return True
        if not (BTF_DIRECTORY / module).exists():
            return False
        split = _load_module(module.encode(), btf)
        try:
            return bool(split) and _find(split, name.encode(), _KIND_FUNC) > 0
        finally:
            _free(split)


def kernel_enum(name: str) -> dict[int, str]:
    """Return the names of the values of an enum of the running kernel; empty if it has none."""
    with _kernel_btf() as btf:
        type_id = _find(btf, name.encode(), _KIND_ENUM) if btf else -errno.ENOENT
        if not btf or type_id < 0:
            return {}
        _, parts = _described(btf, type_id, 2)
        return {value: _string(btf, named).decode() for named, value in parts}


def kernel_has_enum(name: str) -> bool | None:
    """Whether the running kernel has an enum; None where it has no BTF to tell."""
    with _kernel_btf() as btf:
        return _find(btf, name.encode(), _KIND_ENUM) > 0 if btf else None


def field_offsets(wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return where fields of the kernel's structures lie, in bytes, by (structure, field).

    Those of anonymous members are the structure's own, as in C. What has no BTF is left out.
    """
    with _kernel_btf() as btf:
        if not btf:
            return {}
        found = {}
        for structure, field in wanted:
            type_id = _find(btf, structure.encode(), _KIND_STRUCT)
            offset = _offset(btf, type_id, field.encode()) if type_id > 0 else None
            if offset is not None:
                found[structure, field] = offset // 8
        return found


def _offset(btf: int, type_id: int, field: bytes) -> int | None:
    """Return the offset of a field in bits."""
    info, members = _described(btf, type_id, 3)
    if info >> 24 & 0x1F not in (_KIND_STRUCT, _KIND_UNION):
        return None
    for named, member_type, place in members:
        # With the top bit of info set, the upper byte is the size of a bit field.
        start = place & 0xFFFFFF if info >> 31 else place
        name = _string(btf, named)
        if name == field:
            return start
        if not name and (inside := _offset(btf, member_type, field)) is not None:
            return start + inside
    return None


def _described(btf: int, type_id: int, words: int) -> tuple[int, list[tuple[int, ...]]]:
    """Return the word `info` of a struct btf_type, and its parts of so many words each."""
    header = ctypes.cast(_type_by_id(btf, type_id), POINTER(c_uint32 * 3)).contents
    count = header[1] & 0xFFFF
    address = ctypes.addressof(header) + ctypes.sizeof(header)
    parts = ctypes.cast(address, POINTER(c_uint32 * words * count)).contents
    return header[1], [tuple(part) for part in parts]


@contextmanager
def _kernel_btf() -> Iterator[int | None]:
    btf = _load_vmlinux()
    try:
        yield btf
    finally:
        _free(btf)
