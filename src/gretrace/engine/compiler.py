"""bcc itself: finding it, compiling with it, and keeping what it says for who wants to know."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gretrace.engine.binding import MESSAGES
from gretrace.errors import PrerequisiteError

_INSTALL = "install it: python3-bpfcc on Debian and Ubuntu, python3-bcc on Fedora, RHEL and Arch"


def load_bcc() -> Any:
    """Import iovisor's bcc. Raises PrerequisiteError when it is not there or does not work."""
    try:
        import bcc
    except ModuleNotFoundError:
        raise PrerequisiteError("bcc is not installed", _INSTALL) from None
    except OSError as error:
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

    Raises PrerequisiteError in one line; what the compiler said is kept for -v.
    """
    told = os.environ.get("BCC_KERNEL_SOURCE")
    if kernel:
        os.environ["BCC_KERNEL_SOURCE"] = str(kernel)
    try:
        with quoting(
            f"bcc {bcc.__version__} cannot compile the {what}",
            "install a newer bcc, one that knows this kernel; -v shows what it said",
        ):
            return bcc.BPF(text=text.encode(), cflags=["-Wno-everything"])
    finally:
        if kernel:
            del os.environ["BCC_KERNEL_SOURCE"]
        if told is not None:
            os.environ["BCC_KERNEL_SOURCE"] = told


@contextmanager
def quoting(what: str, remedy: str) -> Iterator[None]:
    """Keep what bcc, clang and libbpf write meanwhile; turn an exception into one line."""
    streams = (1, 2)
    sys.stdout.flush()
    kept = [os.dup(stream) for stream in streams]
    with tempfile.TemporaryFile() as said:
        try:
            for stream in streams:
                os.dup2(said.fileno(), stream)
            yield
        except PrerequisiteError:
            raise
        except Exception as error:
            raise PrerequisiteError(what, remedy) from error
        finally:
            for stream, original in zip(streams, kept, strict=True):
                os.dup2(original, stream)
                os.close(original)
            said.seek(0)
            MESSAGES.lines += said.read().decode("utf-8", "replace").splitlines()
