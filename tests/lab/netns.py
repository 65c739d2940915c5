# SPDX-License-Identifier: GPL-2.0-only
"""Network namespaces as `ip netns` makes them, without a process for each step."""

import ctypes
import fcntl
import os
import socket
import struct
from contextlib import contextmanager
from pathlib import Path

from gretrace.host.namespaces import NAMED, in_scratch_namespace

# uapi/linux/mount.h, umount.h, sockios.h and if.h
MS_BIND, MS_REC, MS_SHARED = 0x1000, 0x4000, 1 << 20
MNT_DETACH = 2
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def named_namespace(name):
    """Have a namespace of this name, with lo up and without IPv6; it is gone afterwards."""
    path = NAMED / name
    _share_names()
    path.touch(exist_ok=False)
    try:
        with in_scratch_namespace():
            # Tunnels solicit routers by themselves, which would be counted like any packet.
            for of in ("all", "default"):
                write_sysctl(f"net.ipv6.conf.{of}.disable_ipv6", "1")
            with socket.socket() as any_socket:
                request = struct.pack("16sH22x", b"lo", IFF_UP | IFF_RUNNING)
                fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)
            _mount("/proc/self/ns/net", path, MS_BIND)
        yield
    finally:
        _libc.umount2(os.fsencode(path), MNT_DETACH)
        path.unlink(missing_ok=True)  # a test may have deleted it as a user would


def write_sysctl(name, value):
    """Write a setting of the namespace that this process is in."""
    Path("/proc/sys", name.replace(".", "/")).write_text(value)


def _share_names():
    """Let a name that is taken away be so for processes with mounts of their own, as `ip` has."""
    NAMED.mkdir(parents=True, exist_ok=True)
    try:
        _mount(None, NAMED, MS_SHARED | MS_REC)
    except OSError:
        # It is no mount yet.
        _mount(NAMED, NAMED, MS_BIND | MS_REC)
        _mount(None, NAMED, MS_SHARED | MS_REC)


def _mount(source, target, flags):
    source = os.fsencode(source) if source else None
    if _libc.mount(source, os.fsencode(target), None, ctypes.c_ulong(flags), None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))
