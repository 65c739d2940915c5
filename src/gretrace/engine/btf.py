"""What the running kernel's BTF tells of its functions and enums."""

import ctypes
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_int, c_uint32, c_void_p
from pathlib import Path

from gretrace.engine.binding import bind

BTF_DIRECTORY = Path("/sys/kernel/btf")

_KIND_ENUM, _KIND_FUNC = 6, 12

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
        if type_id < 0:
            return {}
        # struct btf_type is three words, and the low half of the second is the count of
        # struct btf_enum behind it: the name's offset and the value.
        header = ctypes.cast(_type_by_id(btf, type_id), POINTER(c_uint32 * 3)).contents
        count = header[1] & 0xFFFF
        address = ctypes.addressof(header) + ctypes.sizeof(header)
        words = ctypes.cast(address, POINTER(c_uint32 * (2 * count))).contents
        return {words[2 * i + 1]: _string(btf, words[2 * i]).decode() for i in range(count)}


@contextmanager
def _kernel_btf() -> Iterator[int | None]:
    btf = _load_vmlinux()
    try:
        yield btf
    finally:
        _free(btf)
