# SPDX-License-Identifier: GPL-2.0-only
"""GRE packets put on a wire with as little of the sender's own work as can be."""

import ctypes
import socket
from contextlib import contextmanager

from gretrace.host.namespaces import entered

BATCH = 64


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Message(ctypes.Structure):
    """struct mmsghdr, its struct msghdr inlined."""

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint32),
    ]


_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def flood(host, device, packet):
    """Return what sends a number of copies of an IP packet, 64 to a system call (sendmmsg)."""
    frame = host.wires[device] + b"\x08\x00" + packet
    data = ctypes.create_string_buffer(frame, len(frame))
    vector = _Vector(ctypes.addressof(data), len(frame))
    messages = (_Message * BATCH)()
    for message in messages:
        message.vectors, message.vector_count = ctypes.addressof(vector), 1
    with entered(host.namespace):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with wire:
        wire.bind((device, 0))
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)

        def send(count):
            while count:
                sent = _libc.sendmmsg(wire.fileno(), messages, min(count, BATCH), 0)
                if sent < 0:
                    raise OSError(ctypes.get_errno(), "sendmmsg")
                count -= sent

        yield send
