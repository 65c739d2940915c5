# SPDX-License-Identifier: GPL-2.0-only
"""One built BPF object, from its bytes to its attached programs."""

import ctypes
import errno
from ctypes import POINTER, byref, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from typing import ClassVar

from gretrace.engine.binding import bind, check, check_pointer

_open_mem = bind("bpf_object__open_mem", c_void_p, c_void_p, c_size_t, c_void_p)
_load = bind("bpf_object__load", c_int, c_void_p)
_close = bind("bpf_object__close", None, c_void_p)
_find_program = bind("bpf_object__find_program_by_name", c_void_p, c_void_p, c_char_p)
_find_map = bind("bpf_object__find_map_by_name", c_void_p, c_void_p, c_char_p)
_program_set_autoload = bind("bpf_program__set_autoload", c_int, c_void_p, c_bool)
_program_attach = bind("bpf_program__attach", c_void_p, c_void_p)
_program_fd = bind("bpf_program__fd", c_int, c_void_p)
_link_destroy = bind("bpf_link__destroy", c_int, c_void_p)
_map_fd = bind("bpf_map__fd", c_int, c_void_p)
_map_initial_value = bind("bpf_map__initial_value", c_void_p, c_void_p, POINTER(c_size_t))
_map_set_max_entries = bind("bpf_map__set_max_entries", c_int, c_void_p, c_uint32)


class _OpenOptions(ctypes.Structure):
    """struct bpf_object_open_opts as far as it is used; libbpf takes its size as a version."""

    _fields_: ClassVar = [("sz", c_size_t), ("object_name", c_char_p)]


class BpfObject:
    """One built object, from its bytes to its attached programs."""

    def __init__(self, name: str, image: bytes) -> None:
        options = _OpenOptions(ctypes.sizeof(_OpenOptions), name.encode())
        self._object = check_pointer(
            _open_mem(image, len(image), byref(options)), f"open the BPF object {name}"
        )
        self._links: list[int] = []
        self._name = name

    def set_max_entries(self, map_name: str, count: int) -> None:
        """Resize a map; only before load()."""
        check(_map_set_max_entries(self._map(map_name), count), f"size {map_name}")

    def set_constants(self, section: str, value: ctypes.Structure) -> None:
        """Fill a read-only section that holds nothing but `value`; only before load()."""
        size = c_size_t()
        address = check_pointer(
            _map_initial_value(self._map(section), byref(size)), f"find {section}"
        )
        if size.value != ctypes.sizeof(value):
            raise OSError(errno.EINVAL, f"{section} has {size.value} bytes")
        ctypes.memmove(address, byref(value), size.value)

    def leave_out(self, program: str) -> None:
        """Do not load a program; only before load()."""
        check(_program_set_autoload(self._program(program), False), f"leave {program} out")

    def load(self) -> None:
        """Relocate, verify and load every program."""
        check(_load(self._object), f"load the BPF object {self._name}")

    def attach(self, program: str) -> None:
        """Attach a program where its section says."""
        link = check_pointer(_program_attach(self._program(program)), f"attach {program}")
        self._links.append(link)

    def program_fd(self, program: str) -> int:
        """Return the descriptor of a loaded program."""
        return int(_program_fd(self._program(program)))

    def map_fd(self, name: str) -> int:
        """Return the descriptor of a loaded map."""
        return int(_map_fd(self._map(name)))

    def close(self) -> None:
        """Detach all, free all; a second time it does nothing."""
        while self._links:
            _link_destroy(self._links.pop())
        if self._object:
            _close(self._object)
            self._object = 0

    def _map(self, name: str) -> int:
        return check_pointer(_find_map(self._object, name.encode()), f"find the map {name}")

    def _program(self, name: str) -> int:
        return check_pointer(_find_program(self._object, name.encode()), f"find the program {name}")
