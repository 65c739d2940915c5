# SPDX-License-Identifier: GPL-2.0-only
"""bcc itself: finding it, compiling with it, and keeping what it says for who wants to know."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gretrace.engine.binding import MESSAGES
from gretrace.engine.refusals import no_privilege, too_many_kinds
from gretrace.errors import PrerequisiteError, Remedy

_INSTALL = (
    "install it: python3-bpfcc on Debian and Ubuntu, python3-bcc on Fedora, RHEL and Arch; "
    "a virtual environment sees it only with --system-site-packages"
)
_NO_PRIVILEGE = ("Operation not permitted", "super-user")
_TOO_LARGE = ("Cannot allocate memory", "Argument list too long")


def load_bcc() -> Any:
    """Import iovisor's bcc. Raises PrerequisiteError when it is not there or does not work."""
    try:
        import bcc
    except (ImportError, OSError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "bcc":
            raise PrerequisiteError(
                f"bcc is not installed for {sys.executable}", _INSTALL
            ) from None
        # AttributeError: a library of another release lacks functions that the package binds.
        raise PrerequisiteError(
            f"bcc cannot load its library or LLVM ({error})",
            "install it again: libbpfcc on Debian and Ubuntu, bcc on Fedora, RHEL and Arch",
        ) from None
    if not hasattr(bcc, "BPF"):
        raise PrerequisiteError("the Python package bcc here is not iovisor's", _INSTALL)
    return bcc


def bcc_version() -> str:
    """Return the name and version of bcc. Raises what load_bcc() does."""
    return f"bcc {load_bcc().__version__}"


def compile_text(bcc: Any, text: str, kernel: Path | None, what: str) -> Any:
    """Compile a program against a kernel's source tree, None for the running kernel's.

    Raises PrerequisiteError in one line; what the compiler said is kept for who asks.
    """
    told = os.environ.get("BCC_KERNEL_SOURCE")
    if kernel:
        os.environ["BCC_KERNEL_SOURCE"] = str(kernel)
    try:
        with quoting(
            f"bcc {bcc.__version__} cannot compile the {what}",
            f"install a newer bcc, one that knows this kernel; {Remedy.MORE_WORDS}",
        ):
            return bcc.BPF(text=text.encode(), cflags=["-Wno-everything"])
    finally:
        if kernel:
            del os.environ["BCC_KERNEL_SOURCE"]
        if told is not None:
            os.environ["BCC_KERNEL_SOURCE"] = told


@contextmanager
def quoting(what: str, remedy: str) -> Iterator[None]:
    """Keep what bcc, clang and libbpf write meanwhile; turn bcc's exceptions into one line."""
    said: list[str] = []
    try:
        with _written(said):
            yield
    except Exception as error:
        # bcc has no exception of its own; what has one is a fault of ours.
        if type(error) is not Exception and not isinstance(error, OSError):
            raise
        said.append(f"bcc: {error}")
        raise _refusal("\n".join(said)) or PrerequisiteError(what, remedy) from error
    finally:
        MESSAGES.lines += said


@contextmanager
def _written(said: list[str]) -> Iterator[None]:
    """Collect the lines that are written to stdout and stderr, by whatever library."""
    streams = (1, 2)
    sys.stdout.flush()
    with os.fdopen(os.memfd_create("bcc"), "w+b") as collected:
        kept = [os.dup(stream) for stream in streams]
        try:
            for stream in streams:
                os.dup2(collected.fileno(), stream)
            yield
        finally:
            for stream, original in zip(streams, kept, strict=True):
                os.dup2(original, stream)
                os.close(original)
            collected.seek(0)
            said += collected.read().decode("utf-8", "replace").splitlines()


def _refusal(said: str) -> PrerequisiteError | None:
    """Tell the kernel's refusals that are no matter of bcc from what was said."""
    if any(words in said for words in _NO_PRIVILEGE):
        return no_privilege()
    if any(words in said for words in _TOO_LARGE):
        return too_many_kinds()
    return None
