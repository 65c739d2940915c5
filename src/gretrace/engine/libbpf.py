"""A binding to libbpf.so.1, no wider than what gretrace calls.

Functions are named as in bpf/libbpf.h, bpf/bpf.h and bpf/btf.h of libbpf 1.x.
Failures are raised as OSError with libbpf's errno.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from typing import Any, ClassVar

from gretrace.errors import PrerequisiteError


def _load() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError:
        raise PrerequisiteError(
            "libbpf.so.1 is not installed",
            "install it: libbpf1 on Debian and Ubuntu, libbpf on Fedora and RHEL",
        ) from None


_LIB = _load()
_DEBUG = 2  # enum libbpf_print_level
_PRINT = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
_SAMPLE = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_LIB, name)
    function.restype, function.argtypes = result, arguments
    return function


class _OpenOptions(ctypes.Structure):
    """struct bpf_object_open_opts as far as it is used; libbpf takes its size as a version."""

    _fields_: ClassVar = [("sz", c_size_t), ("object_name", c_char_p)]


class BatchOptions(ctypes.Structure):
    """struct bpf_map_batch_opts."""

    _fields_: ClassVar = [
        ("sz", c_size_t),
        ("elem_flags", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    ]


_set_print = _function("libbpf_set_print", c_void_p, c_void_p)
_vsnprintf = ctypes.CDLL(None).vsnprintf
_vsnprintf.argtypes = [c_char_p, c_size_t, c_char_p, c_void_p]

_object_open_mem = _function("bpf_object__open_mem", c_void_p, c_void_p, c_size_t, c_void_p)
_object_load = _function("bpf_object__load", c_int, c_void_p)
_object_close = _function("bpf_object__close", None, c_void_p)
_find_program = _function("bpf_object__find_program_by_name", c_void_p, c_void_p, c_char_p)
_find_map = _function("bpf_object__find_map_by_name", c_void_p, c_void_p, c_char_p)
_program_attach = _function("bpf_program__attach", c_void_p, c_void_p)
_program_fd = _function("bpf_program__fd", c_int, c_void_p)
_link_destroy = _function("bpf_link__destroy", c_int, c_void_p)
_map_fd = _function("bpf_map__fd", c_int, c_void_p)
_map_initial_value = _function("bpf_map__initial_value", c_void_p, c_void_p, POINTER(c_size_t))
_map_set_max_entries = _function("bpf_map__set_max_entries", c_int, c_void_p, c_uint32)
_map_lookup_elem = _function("bpf_map_lookup_elem", c_int, c_int, c_void_p, c_void_p)
_map_lookup_batch = _function(
    "bpf_map_lookup_batch",
    *(c_int, c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p),
)
_info_by_fd = _function("bpf_obj_get_info_by_fd", c_int, c_int, c_void_p, POINTER(c_uint32))
_btf_load_vmlinux = _function("btf__load_vmlinux_btf", c_void_p)
_btf_find = _function("btf__find_by_name_kind", c_int, c_void_p, c_char_p, c_uint32)
_btf_type = _function("btf__type_by_id", c_void_p, c_void_p, c_uint32)
_btf_string = _function("btf__name_by_offset", c_char_p, c_void_p, c_uint32)
_btf_free = _function("btf__free", None, c_void_p)
_BTF_KIND_ENUM, _BTF_KIND_FUNC = 6, 12
_ring_new = _function("ring_buffer__new", c_void_p, c_int, _SAMPLE, c_void_p, c_void_p)
_ring_consume = _function("ring_buffer__consume", c_int, c_void_p)
_ring_epoll_fd = _function("ring_buffer__epoll_fd", c_int, c_void_p)
_ring_free = _function("ring_buffer__free", None, c_void_p)


class Messages:
    """What libbpf and the verifier had to say; printed only when asked for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._callback = _PRINT(self._keep)
        _set_print(ctypes.cast(self._callback, c_void_p))

    def _keep(self, level: int, text: bytes, arguments: int) -> int:
        if level >= _DEBUG:
            return 0
        buffer = ctypes.create_string_buffer(4096)
        _vsnprintf(buffer, len(buffer), text, arguments)
        self.lines.append(buffer.value.decode("utf-8", "replace").rstrip())
        return 0


MESSAGES = Messages()


def _check(result: int | None, what: str) -> int:
    """Turn libbpf's NULL or negative errno into OSError."""
    if result is None or result == 0:
        number = ctypes.get_errno() or errno.EINVAL
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _check_status(status: int, what: str) -> int:
    if status < 0:
        raise OSError(-status, f"{what}: {os.strerror(-status)}")
    return status


class BpfObject:
    """One built object, from its bytes to its attached programs."""

    def __init__(self, name: str, image: bytes) -> None:
        options = _OpenOptions(ctypes.sizeof(_OpenOptions), name.encode())
        self._object = _check(
            _object_open_mem(image, len(image), byref(options)), f"open the BPF object {name}"
        )
        self._links: list[int] = []
        self._name = name

    def set_max_entries(self, map_name: str, count: int) -> None:
        """Resize a map; only before load()."""
        _check_status(_map_set_max_entries(self._map(map_name), count), f"size {map_name}")

    def set_constants(self, section: str, value: ctypes.Structure) -> None:
        """Fill a read-only section that holds nothing but `value`; only before load()."""
        size = c_size_t()
        address = _check(_map_initial_value(self._map(section), byref(size)), f"find {section}")
        if size.value != ctypes.sizeof(value):
            raise OSError(errno.EINVAL, f"{section} has {size.value} bytes")
        ctypes.memmove(address, byref(value), size.value)

    def load(self) -> None:
        """Relocate, verify and load every program."""
        _check_status(_object_load(self._object), f"load the BPF object {self._name}")

    def attach(self, program: str) -> None:
        """Attach a program where its section says."""
        link = _check(_program_attach(self._program(program)), f"attach {program}")
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
            _object_close(self._object)
            self._object = 0

    def _map(self, name: str) -> int:
        return _check(_find_map(self._object, name.encode()), f"find the map {name}")

    def _program(self, name: str) -> int:
        return _check(_find_program(self._object, name.encode()), f"find the program {name}")


class HashMap:
    """Reads a whole hash map with few system calls (bpf_map_lookup_batch, Linux 5.6)."""

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
        options = BatchOptions(ctypes.sizeof(BatchOptions))
        start = None
        while True:
            count = c_uint32(self.CHUNK)
            status = _map_lookup_batch(
                *(self._fd, start, position, self._keys, self._values),
                *(byref(count), byref(options)),
            )
            if status < 0 and status != -errno.ENOENT:
                _check_status(status, "read the map")
            keys, values = self._keys.raw, self._values.raw
            for i in range(count.value):
                yield (
                    keys[i * self._key_size : (i + 1) * self._key_size],
                    values[i * self._value_size : (i + 1) * self._value_size],
                )
            if status == -errno.ENOENT:
                return
            start = position


def read_element(fd: int, key: int, value: ctypes.Structure) -> None:
    """Read one element of an array map into `value`."""
    _check_status(_map_lookup_elem(fd, byref(c_uint32(key)), byref(value)), "read the map")


class _ProgramInfo(ctypes.Structure):
    """struct bpf_prog_info of linux/bpf.h up to the one field that is read."""

    _fields_: ClassVar = [
        ("before", ctypes.c_uint8 * 208),
        ("recursion_misses", ctypes.c_uint64),
    ]


def recursion_misses(program_fd: int) -> int:
    """Return how often a program did not run because it was running already (Linux 5.12)."""
    info, size = _ProgramInfo(), c_uint32(ctypes.sizeof(_ProgramInfo))
    _check_status(_info_by_fd(program_fd, byref(info), byref(size)), "read the program's info")
    return int(info.recursion_misses)


class Bell:
    """A ring buffer of which only the ringing matters."""

    def __init__(self, fd: int) -> None:
        self._callback = _SAMPLE(lambda _context, _data, _size: 0)
        self._ring = _check(_ring_new(fd, self._callback, None, None), "open the ring buffer")

    def fileno(self) -> int:
        """Return a descriptor that is readable after a ring."""
        return int(_ring_epoll_fd(self._ring))

    def drain(self) -> None:
        """Take note of all rings so far."""
        _check_status(_ring_consume(self._ring), "read the ring buffer")

    def close(self) -> None:
        """Free the ring buffer; a second time it does nothing."""
        if self._ring:
            _ring_free(self._ring)
            self._ring = 0


def kernel_has_function(name: str) -> bool:
    """Whether a function is built into the running kernel; False where it has no BTF."""
    with _kernel_btf() as btf:
        return bool(btf) and _btf_find(btf, name.encode(), _BTF_KIND_FUNC) > 0


def kernel_enum(name: str) -> dict[int, str]:
    """Return the names of the values of an enum of the running kernel; empty if it has none."""
    with _kernel_btf() as btf:
        type_id = _btf_find(btf, name.encode(), _BTF_KIND_ENUM) if btf else -errno.ENOENT
        if type_id < 0:
            return {}
        # struct btf_type is three words, and the low half of the second is the count of
        # struct btf_enum behind it: the name's offset and the value.
        header = ctypes.cast(_btf_type(btf, type_id), POINTER(c_uint32 * 3)).contents
        count = header[1] & 0xFFFF
        address = ctypes.addressof(header) + ctypes.sizeof(header)
        words = ctypes.cast(address, POINTER(c_uint32 * (2 * count))).contents
        return {words[2 * i + 1]: _btf_string(btf, words[2 * i]).decode() for i in range(count)}


@contextmanager
def _kernel_btf() -> Iterator[int | None]:
    btf = _btf_load_vmlinux()
    try:
        yield btf
    finally:
        _btf_free(btf)
