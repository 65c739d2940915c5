# SPDX-License-Identifier: GPL-2.0-only
"""Waiting until no program runs that began before."""

import ctypes
import os
from contextlib import suppress
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from typing import ClassVar

from gretrace.engine.binding import bind, check

# uapi/linux/bpf.h
_MAP_TYPE_ARRAY, _MAP_TYPE_ARRAY_OF_MAPS = 2, 12


class _CreateOptions(ctypes.Structure):
    """struct bpf_map_create_opts as far as it is used; libbpf takes its size as a version."""

    _fields_: ClassVar = [
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
        ("map_extra", c_uint64),
    ]


_create = bind(
    "bpf_map_create",
    *(c_int, c_int, c_char_p, c_uint32, c_uint32, c_uint32, POINTER(_CreateOptions)),
)
_update = bind("bpf_map_update_elem", c_int, c_int, c_void_p, c_void_p, c_uint64)


class Grace:
    """A map of maps that no program reads: to write it is to wait.

    The write returns once every program that was running has ended (synchronize_rcu() in
    maybe_wait_bpf_programs() of kernel/bpf/syscall.c, v4.20, 1ae80cf31938 "bpf: wait for running
    BPF programs when updating map-in-map"). membarrier(2) would do too, but returns at once where
    there is one processor, and is refused where some have no timer tick (nohz_full). A program at
    a tracepoint runs inside rcu_read_lock(), by whichever engine (__bpf_trace_run()); so does one
    behind a function (__bpf_prog_enter(), trace_call_bpf()).
    """

    def __init__(self) -> None:
        options = _CreateOptions(sz=ctypes.sizeof(_CreateOptions))
        self._inner = self._outer = -1
        try:
            self._inner = self._make(_MAP_TYPE_ARRAY, options)
            options.inner_map_fd = self._inner
            self._outer = self._make(_MAP_TYPE_ARRAY_OF_MAPS, options)
        except BaseException:
            self.close()
            raise

    def wait(self) -> None:
        """Return when every program has ended that began before; some 10 ms, seldom 100."""
        key, inner = c_uint32(0), c_uint32(self._inner)
        check(_update(self._outer, byref(key), byref(inner), 0), "wait for running programs")

    def close(self) -> None:
        """Free it; a second time it does nothing."""
        for fd in (self._outer, self._inner):
            if fd >= 0:
                with suppress(OSError):
                    os.close(fd)
        self._inner = self._outer = -1

    @staticmethod
    def _make(kind: int, options: _CreateOptions) -> int:
        size = ctypes.sizeof(c_uint32)
        made = _create(kind, b"grace", size, size, 1, byref(options))
        return check(int(made), "make a map")
