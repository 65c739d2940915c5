# SPDX-License-Identifier: GPL-2.0-only
"""What this process may do, and letting go of what it needs no longer."""

import ctypes
import os
from collections.abc import Iterable
from typing import ClassVar

# linux/capability.h
CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_PTRACE, CAP_SYS_ADMIN = 12, 13, 19, 21
CAP_SYSLOG, CAP_BPF = 34, 39
_VERSION_3 = 0x20080522
# linux/prctl.h
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4

# What a run goes on to need: to ask for links (CAP_NET_ADMIN, also of nft), to read iptables,
# which opens a raw socket, the kernel's functions, and, before v5.19, c8644cd0efe7 ("bpf: refine
# kernel.unprivileged_bpf_disabled behaviour"), its own maps.
WATCHING = (CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYSLOG, CAP_BPF)
# To enter other namespaces, and to find those of processes.
ENTERING = (CAP_SYS_ADMIN, CAP_SYS_PTRACE)


class _Header(ctypes.Structure):
    """struct __user_cap_header_struct."""

    _fields_: ClassVar = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    """struct __user_cap_data_struct, of which there are two: 32 capabilities each."""

    _fields_: ClassVar = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


_libc = ctypes.CDLL(None, use_errno=True)


def shed(keep: Iterable[int]) -> None:
    """Let go of every capability but those to keep, for good, and for children too.

    Raises OSError where the kernel refuses, which it never does to a process of its own.
    """
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    _check(_libc.capget(ctypes.byref(header), data))
    mask = sum(1 << number for number in keep)
    for part, half in enumerate(data):
        half.permitted &= mask >> 32 * part & 0xFFFFFFFF
        half.effective = half.permitted
        half.inheritable = 0
    _check(_libc.capset(ctypes.byref(header), data))


def _check(status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
