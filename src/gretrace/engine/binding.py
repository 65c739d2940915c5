# SPDX-License-Identifier: GPL-2.0-only
"""A binding to libbpf.so.1, no wider than what gretrace calls.

Functions are named as in bpf/libbpf.h, bpf/bpf.h and bpf/btf.h of libbpf 1.x.
Failures are raised as OSError with libbpf's errno.
"""

import ctypes
import errno
import os
from ctypes import c_char_p, c_int, c_size_t, c_uint32, c_void_p
from functools import cache, cached_property
from typing import Any

from gretrace.errors import PrerequisiteError

_DEBUG = 2  # enum libbpf_print_level
_PRINT = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)


class Function:
    """A function of libbpf, looked up when it is first called.

    An object, since a function of Python would become a method of the class that names it.
    """

    def __init__(self, name: str, result: Any, arguments: tuple[Any, ...]) -> None:
        self._name, self._result, self._arguments = name, result, arguments

    def __call__(self, *values: Any) -> Any:
        """Call it; raises PrerequisiteError where libbpf is not installed, or has no such."""
        return self._function(*values)

    @cached_property
    def _function(self) -> Any:
        try:
            function = getattr(_library(), self._name)
        except AttributeError:
            raise PrerequisiteError(
                f"libbpf.so.1 is too old: it has no {self._name}()",
                "install libbpf 1.1 or newer, as Debian 12 has it",
            ) from None
        function.restype, function.argtypes = self._result, self._arguments
        return function


def bind(name: str, result: Any, *arguments: Any) -> Function:
    """Return a function of libbpf with its C types."""
    return Function(name, result, arguments)


_major = bind("libbpf_major_version", c_uint32)
_minor = bind("libbpf_minor_version", c_uint32)
_vsnprintf = ctypes.CDLL(None).vsnprintf
_vsnprintf.argtypes = [c_char_p, c_size_t, c_char_p, c_void_p]


def version() -> str:
    """Return the name and version of the library."""
    return f"libbpf {_major()}.{_minor()}"


class Messages:
    """What libbpf and the verifier had to say; printed only when asked for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.callback = _PRINT(self._keep)

    def _keep(self, level: int, text: bytes, arguments: int) -> int:
        if level >= _DEBUG:
            return 0
        buffer = ctypes.create_string_buffer(4096)
        _vsnprintf(buffer, len(buffer), text, arguments)
        self.lines.append(buffer.value.decode("utf-8", "replace").rstrip())
        return 0


MESSAGES = Messages()


@cache
def _library() -> ctypes.CDLL:
    """Load libbpf when it is first needed: much of gretrace does without."""
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError:
        raise PrerequisiteError(
            "libbpf.so.1 is not installed",
            "install it: libbpf1 on Debian and Ubuntu, libbpf on Fedora and RHEL",
        ) from None
    library.libbpf_set_print(MESSAGES.callback)
    return library


def check_pointer(result: int | None, what: str) -> int:
    """Return a pointer; raise OSError for NULL."""
    if result is None or result == 0:
        number = ctypes.get_errno() or errno.EINVAL
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def check(status: int, what: str) -> int:
    """Return a status; raise OSError for a negative errno."""
    if status < 0:
        raise OSError(-status, f"{what}: {os.strerror(-status)}")
    return status
