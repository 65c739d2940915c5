# SPDX-License-Identifier: GPL-2.0-only
"""How long the verifier takes: each start of a command waits for it."""

import ctypes
from contextlib import closing
from ctypes import POINTER, byref, c_int, c_uint8, c_uint32, c_void_p

import pytest

from gretrace.engine.binding import bind, check
from gretrace.engine.core import open_object

# In instructions, each as often as it is met on another way. How many depends on the kernel; a
# function of a hundred on each of many ways is told by any. 23,000 take 0.03 s here.
AT_MOST = {("drop", "count_drop"): 40_000}

_info_by_fd = bind("bpf_obj_get_info_by_fd", c_int, c_int, c_void_p, POINTER(c_uint32))


class Info(ctypes.Structure):
    """struct bpf_prog_info up to what is asked for, of v5.16."""

    _fields_ = [("others", c_uint8 * 216), ("verified", c_uint32), ("more", c_uint32)]


@pytest.mark.parametrize(("stem", "program"), AT_MOST)
def test_no_program_is_verified_for_long(stem, program):
    with closing(open_object(stem)) as loaded:
        loaded.load()
        info, size = Info(), c_uint32(ctypes.sizeof(Info))
        fd = loaded.program_fd(program)
        check(_info_by_fd(fd, byref(info), byref(size)), "read the program's info")
    assert 0 < info.verified <= AT_MOST[stem, program]
