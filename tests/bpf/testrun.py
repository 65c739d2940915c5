# SPDX-License-Identifier: GPL-2.0-only
"""BPF_PROG_TEST_RUN: a program on bytes that a test made, at the speed of the machine."""

import ctypes
from ctypes import POINTER, byref, c_int, c_size_t, c_uint32, c_void_p

from gretrace.engine.binding import bind, check

TC_ACT_REDIRECT, TC_ACT_UNSPEC = 7, 0xFFFFFFFF
XDP_PASS, XDP_TX = 2, 3


class Options(ctypes.Structure):
    """struct bpf_test_run_opts."""

    _fields_ = [
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    ]


_run = bind("bpf_prog_test_run_opts", c_int, c_int, POINTER(Options))
_buffer = ctypes.create_string_buffer(4096)


def run_program(fd, data, repeat=1):
    """What the program returned, the packet afterwards, nanoseconds for one run."""
    options = Options(ctypes.sizeof(Options), repeat=repeat)
    options.data_in = ctypes.cast(ctypes.c_char_p(data), c_void_p)
    options.data_size_in = len(data)
    options.data_out, options.data_size_out = ctypes.addressof(_buffer), len(_buffer)
    check(_run(fd, byref(options)), "run the program")
    return options.retval, _buffer.raw[: options.data_size_out], options.duration
