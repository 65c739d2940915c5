"""Reading and writing the maps of loaded programs."""

import ctypes
import errno
from collections.abc import Iterator
from ctypes import POINTER, byref, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from typing import ClassVar, TypeAlias

from gretrace.engine.binding import bind, check, check_pointer

_SAMPLE = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)

_lookup = bind("bpf_map_lookup_elem", c_int, c_int, c_void_p, c_void_p)
_update = bind("bpf_map_update_elem", c_int, c_int, c_void_p, c_void_p, c_uint64)
_lookup_batch = bind(
    "bpf_map_lookup_batch",
    *(c_int, c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p),
)
_ring_new = bind("ring_buffer__new", c_void_p, c_int, _SAMPLE, c_void_p, c_void_p)
_ring_consume = bind("ring_buffer__consume", c_int, c_void_p)
_ring_epoll_fd = bind("ring_buffer__epoll_fd", c_int, c_void_p)
_ring_free = bind("ring_buffer__free", None, c_void_p)


_Data: TypeAlias = ctypes.Structure | c_uint32


class _BatchOptions(ctypes.Structure):
    """struct bpf_map_batch_opts."""

    _fields_: ClassVar = [("sz", c_size_t), ("elem_flags", c_uint64), ("flags", c_uint64)]


class BatchMap:
    """Reads a whole hash map, or array, with few system calls (bpf_lookup_batch, Linux 5.6)."""

    # More than any bucket holds, which is the least that the kernel wants room for.
    CHUNK = 512

    def __init__(self, fd: int, key: type[_Data], value: type[ctypes.Structure]) -> None:
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


def read_element(fd: int, value: ctypes.Structure) -> None:
    """Read the only element of an array map into `value`."""
    check(_lookup(fd, byref(c_uint32(0)), byref(value)), "read the map")


def write_element(fd: int, value: ctypes.Structure) -> None:
    """Write the only element of an array map."""
    check(_update(fd, byref(c_uint32(0)), byref(value), 0), "write the map")


class Ring:
    """A ring buffer; records are kept until they are taken."""

    def __init__(self, fd: int) -> None:
        self._records: list[bytes] = []
        self._callback = _SAMPLE(self._keep)
        self._ring = check_pointer(_ring_new(fd, self._callback, None, None), "open the ring")

    def fileno(self) -> int:
        """Return a descriptor that is readable when there are records."""
        return int(_ring_epoll_fd(self._ring))

    def take(self) -> list[bytes]:
        """Return all records since the last call."""
        check(_ring_consume(self._ring), "read the ring buffer")
        taken, self._records = self._records, []
        return taken

    def close(self) -> None:
        """Free the ring buffer; a second time it does nothing."""
        if self._ring:
            _ring_free(self._ring)
            self._ring = 0

    def _keep(self, _context: int, data: int, size: int) -> int:
        self._records.append(ctypes.string_at(data, size))
        return 0
