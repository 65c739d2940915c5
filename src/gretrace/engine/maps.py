# SPDX-License-Identifier: GPL-2.0-only
"""Reading and writing the maps of loaded programs."""

import ctypes
import errno
import resource
import sys
from collections.abc import Iterator, Sequence
from ctypes import POINTER, byref, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, ClassVar

from gretrace.engine.binding import bind, check, check_pointer

_SAMPLE = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)
_PERF_SAMPLE = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_void_p, c_uint32)
_PERF_LOST = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_uint64)
# The kernel's own, linux/errno.h: a map of a kind that has no batches.
ENOTSUPP = 524

_lookup = bind("bpf_map_lookup_elem", c_int, c_int, c_void_p, c_void_p)
_update = bind("bpf_map_update_elem", c_int, c_int, c_void_p, c_void_p, c_uint64)
_delete = bind("bpf_map_delete_elem", c_int, c_int, c_void_p)
_next_key = bind("bpf_map_get_next_key", c_int, c_int, c_void_p, c_void_p)
_lookup_batch = bind(
    "bpf_map_lookup_batch",
    *(c_int, c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p),
)
_delete_batch = bind("bpf_map_delete_batch", c_int, c_int, c_void_p, POINTER(c_uint32), c_void_p)
_ring_new = bind("ring_buffer__new", c_void_p, c_int, _SAMPLE, c_void_p, c_void_p)
_ring_consume = bind("ring_buffer__consume", c_int, c_void_p)
_ring_epoll_fd = bind("ring_buffer__epoll_fd", c_int, c_void_p)
_ring_free = bind("ring_buffer__free", None, c_void_p)

_perf_new = bind(
    "perf_buffer__new",
    *(c_void_p, c_int, c_size_t, _PERF_SAMPLE, _PERF_LOST, c_void_p, c_void_p),
)
_perf_consume = bind("perf_buffer__consume", c_int, c_void_p)
_perf_epoll_fd = bind("perf_buffer__epoll_fd", c_int, c_void_p)
_perf_free = bind("perf_buffer__free", None, c_void_p)


class _BatchOptions(ctypes.Structure):
    """struct bpf_map_batch_opts."""

    _fields_: ClassVar = [("sz", c_size_t), ("elem_flags", c_uint64), ("flags", c_uint64)]


class TableReader:
    """Reads a whole hash map with few system calls."""

    # More than any bucket holds, which is the least that the kernel wants room for.
    CHUNK = 512

    def __init__(self, fd: int, key: type[ctypes.Structure], value: type[ctypes.Structure]) -> None:
        self._fd = fd
        self._key_size, self._value_size = ctypes.sizeof(key), ctypes.sizeof(value)
        self._keys = ctypes.create_string_buffer(self.CHUNK * self._key_size)
        self._values = ctypes.create_string_buffer(self.CHUNK * self._value_size)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key and value as bytes; what changes meanwhile may be there or not."""
        position = ctypes.create_string_buffer(self._key_size)
        options = _BatchOptions(ctypes.sizeof(_BatchOptions))
        start = None
        while True:
            count = c_uint32(self.CHUNK)
            status = _lookup_batch(
                *(self._fd, start, position, self._keys, self._values),
                *(byref(count), byref(options)),
            )
            # Batches are of v5.6, 057996380a42 ("bpf: Add batch ops to all htab bpf map").
            if status in (-errno.EINVAL, -errno.EOPNOTSUPP, -ENOTSUPP) and start is None:
                yield from self.one_by_one()
                return
            if status < 0 and status != -errno.ENOENT:
                check(status, "read the map")
            keys, values = self._keys.raw, self._values.raw
            for i in range(count.value):
                yield (
                    keys[i * self._key_size : (i + 1) * self._key_size],
                    values[i * self._value_size : (i + 1) * self._value_size],
                )
            if status == -errno.ENOENT:
                return
            start = position

    def one_by_one(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield what items() does, with two system calls for each."""
        key = ctypes.create_string_buffer(self._key_size)
        value = ctypes.create_string_buffer(self._value_size)
        before = None
        while (status := _next_key(self._fd, before, key)) != -errno.ENOENT:
            check(status, "read the map")
            if _lookup(self._fd, key, value) == 0:
                yield key.raw, value.raw
            before = key

    def remove(self, keys: Sequence[bytes]) -> None:
        """Take entries out; one that is not there is passed over."""
        for start in range(0, len(keys), self.CHUNK):
            chunk = keys[start : start + self.CHUNK]
            options = _BatchOptions(ctypes.sizeof(_BatchOptions))
            count = c_uint32(len(chunk))
            status = _delete_batch(self._fd, b"".join(chunk), byref(count), byref(options))
            # No batches, or it has stopped at a key that is not there.
            if status < 0:
                for key in chunk:
                    _delete(self._fd, key)


def read_element(fd: int, value: ctypes.Structure) -> None:
    """Read the only element of an array map into `value`."""
    check(_lookup(fd, byref(c_uint32(0)), byref(value)), "read the map")


def write_element(fd: int, value: ctypes.Structure) -> None:
    """Write the only element of an array map."""
    check(_update(fd, byref(c_uint32(0)), byref(value), 0), "write the map")


class EventRing:
    """Records that a program sends; they are kept until they are taken."""

    # Of libbpf, for the kind of ring.
    _consume: ClassVar[Any]
    _epoll_fd: ClassVar[Any]
    _free: ClassVar[Any]

    def __init__(self) -> None:
        self.lost = 0  # records that found no room and that the program could not count
        self._records: list[bytes] = []
        self._handle = 0

    def fileno(self) -> int:
        """Return a descriptor that is readable when there are records."""
        if not self._handle:
            raise ValueError("closed")
        return int(self._epoll_fd(self._handle))

    def take(self) -> list[bytes]:
        """Return all records since the last call, the oldest first."""
        if not self._handle:
            return []
        check(self._consume(self._handle), "read the ring")
        taken, self._records = self._records, []
        return taken

    def close(self) -> None:
        """Free it; a second time it does nothing."""
        if self._handle:
            self._free(self._handle)
            self._handle = 0


class Ring(EventRing):
    """A ring buffer, one for all processors."""

    _consume, _epoll_fd, _free = _ring_consume, _ring_epoll_fd, _ring_free

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._keeper = _SAMPLE(self._keep)
        self._handle = check_pointer(_ring_new(fd, self._keeper, None, None), "open the ring")

    def _keep(self, _context: int, data: int, size: int) -> int:
        self._records.append(ctypes.string_at(data, size))
        return 0


class PerfRings(EventRing):
    """A ring for each processor, for kernels without ring buffers (perf events, v4.3).

    Records that begin with their time are put in order over all processors; a few bytes of
    padding may follow each.
    """

    _consume, _epoll_fd, _free = _perf_consume, _perf_epoll_fd, _perf_free

    def __init__(self, fd: int, room: int) -> None:
        super().__init__()
        # A power of two, as the kernel wants it, if `room` is one.
        pages = max(1, room // resource.getpagesize())
        self._keeper, self._counter = _PERF_SAMPLE(self._keep), _PERF_LOST(self._count)
        self._handle = check_pointer(
            _perf_new(fd, pages, self._keeper, self._counter, None, None), "open the ring"
        )

    def take(self) -> list[bytes]:
        """Return all records since the last call, the oldest first."""
        return sorted(super().take(), key=lambda record: int.from_bytes(record[:8], sys.byteorder))

    def _keep(self, _context: int, _processor: int, data: int, size: int) -> None:
        self._records.append(ctypes.string_at(data, size))

    def _count(self, _context: int, _processor: int, lost: int) -> None:
        self.lost += lost
