# SPDX-License-Identifier: GPL-2.0-only
"""Programs that are loaded already: who they are and which maps they use."""

import ctypes
import os
from ctypes import POINTER, byref, c_int, c_uint8, c_uint32, c_uint64, c_void_p
from typing import ClassVar

from gretrace.engine.binding import bind, check

_info_by_fd = bind("bpf_obj_get_info_by_fd", c_int, c_int, c_void_p, POINTER(c_uint32))
_program_by_id = bind("bpf_prog_get_fd_by_id", c_int, c_uint32)
_map_by_id = bind("bpf_map_get_fd_by_id", c_int, c_uint32)

MAPS_AT_MOST = 16


class ProgramInfo(ctypes.Structure):
    """struct bpf_prog_info of linux/bpf.h as far as it is read."""

    _fields_: ClassVar = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("not_read_1", c_uint8 * 44),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", ctypes.c_char * 16),
        ("not_read_2", c_uint8 * 128),
        ("recursion_misses", c_uint64),
    ]


class MapInfo(ctypes.Structure):
    """struct bpf_map_info of linux/bpf.h as far as it is read."""

    _fields_: ClassVar = [("not_read", c_uint8 * 24), ("name", ctypes.c_char * 16)]


def program_info(fd: int) -> ProgramInfo:
    """Ask the kernel about a program by its descriptor."""
    info, size = ProgramInfo(), c_uint32(ctypes.sizeof(ProgramInfo))
    check(_info_by_fd(fd, byref(info), byref(size)), "read the program's info")
    return info


def program_name(program_id: int) -> str | None:
    """Return the name of a program; None when it is gone."""
    fd = _program_by_id(program_id)
    if fd < 0:
        return None
    try:
        return str(program_info(fd).name.decode("ascii", "replace"))
    finally:
        os.close(fd)


def open_maps(program_id: int) -> dict[str, int]:
    """Open the maps of a loaded program; the descriptors, by name, are the caller's to close."""
    fd = check(_program_by_id(program_id), "open the program")
    try:
        ids = (c_uint32 * MAPS_AT_MOST)()
        info, size = ProgramInfo(), c_uint32(ctypes.sizeof(ProgramInfo))
        info.nr_map_ids, info.map_ids = MAPS_AT_MOST, ctypes.addressof(ids)
        check(_info_by_fd(fd, byref(info), byref(size)), "read the program's maps")
        maps = [check(_map_by_id(ids[i]), "open a map") for i in range(info.nr_map_ids)]
    finally:
        os.close(fd)
    return {_map_name(map_fd): map_fd for map_fd in maps}


def _map_name(fd: int) -> str:
    info, size = MapInfo(), c_uint32(ctypes.sizeof(MapInfo))
    check(_info_by_fd(fd, byref(info), byref(size)), "read the map's info")
    return str(info.name.decode("ascii", "replace"))
