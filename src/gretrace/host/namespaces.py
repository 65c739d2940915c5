# SPDX-License-Identifier: GPL-2.0-only
"""Network namespaces: found by name, process or inode, and entered for a moment."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gretrace.commands import HERE, Netns
from gretrace.errors import PrerequisiteError, UsageError

CLONE_NEWNET = 0x40000000
IN_DELETE = 0x200  # sys/inotify.h
NAMED = Path("/run/netns")
PROC = Path("/proc")

_LIBC = ctypes.CDLL(None, use_errno=True)
_inotify_init, _inotify_add = _LIBC.inotify_init1, _LIBC.inotify_add_watch


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace; `name` is None for the caller's own."""

    inode: int
    path: Path
    name: str | None = None

    @property
    def reached(self) -> Netns:
        """How a command comes here from the caller's own namespace."""
        if self.name is None:
            return HERE
        if self.path.parent == NAMED:
            return Netns(name=self.path.name)
        return Netns(path=str(self.path.absolute()))

    @property
    def gone(self) -> str:
        """What to say when there is nothing left of it."""
        return f"the network namespace {self.name or self.path} is gone"


def own_namespace() -> Namespace:
    """Return the namespace that this process is in."""
    path = PROC / "self/ns/net"
    return Namespace(path.stat().st_ino, path)


def find_namespace(spec: str) -> Namespace:
    """Find a namespace by the name that `ip netns` gave it, by a process in it, or by a path.

    Raises UsageError when there is none.
    """
    for path in (NAMED / spec, *([PROC / spec / "ns/net"] if spec.isdigit() else []), Path(spec)):
        if "/" in spec and path != Path(spec):
            continue
        try:
            inode = path.stat().st_ino
        except OSError:
            continue
        if path.is_dir():
            continue
        own = own_namespace()
        return own if inode == own.inode else Namespace(inode, path, spec)
    raise UsageError(
        f"there is no network namespace {spec!r}",
        "give a name that `ip netns` lists, or the PID of a process in it",
    )


def all_namespaces() -> list[Namespace]:
    """Return every namespace that has a name or a process, the caller's own first."""
    found = {}
    own = own_namespace()
    found[own.inode] = own
    named = sorted(NAMED.iterdir()) if NAMED.is_dir() else []
    processes = (entry / "ns/net" for entry in PROC.iterdir() if entry.name.isdigit())
    for path in (*named, *processes):
        try:
            inode = path.stat().st_ino
        except OSError:  # gone meanwhile, or a thread of another user
            continue
        name = path.name if path.parent == NAMED else path.parts[2]
        found.setdefault(inode, Namespace(inode, path, name))
    return list(found.values())


def is_there(namespace: Namespace) -> bool:
    """Whether a namespace can still be found where it was found."""
    try:
        return namespace.path.stat().st_ino == namespace.inode
    except OSError:
        return False


class Departures:
    """Rings when a namespace has lost its name; where inotify is not to be had, never."""

    def __init__(self, directory: Path = NAMED) -> None:
        self._fd = int(_inotify_init(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._fd < 0:
            self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        elif directory.is_dir():
            _inotify_add(self._fd, os.fsencode(directory), IN_DELETE)

    def fileno(self) -> int:
        """Return a descriptor that is readable once one has."""
        return self._fd

    def drain(self) -> None:
        """Make the descriptor unreadable again."""
        with suppress(BlockingIOError):
            while os.read(self._fd, 4096):
                pass

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


def enter(namespace: Namespace) -> None:
    """Be in a namespace from now on.

    Raises PrerequisiteError where that is not allowed, or the path leads to another by now.
    """
    with namespace.path.open("rb") as there:
        if os.fstat(there.fileno()).st_ino != namespace.inode:
            raise PrerequisiteError(namespace.gone, "see `ip netns` for those there are")
        # os.setns() is of Python 3.12.
        if _LIBC.setns(there.fileno(), CLONE_NEWNET) == 0:
            return
    raise PrerequisiteError(
        f"cannot enter the network namespace {namespace.name or namespace.path} "
        f"({os.strerror(ctypes.get_errno())})",
        "run as root, or with CAP_SYS_ADMIN",
    )


@contextmanager
def entered(namespace: Namespace) -> Iterator[None]:
    """Be in a namespace for a while; a socket that is opened there stays there."""
    own = own_namespace()
    if namespace.inode == own.inode:
        yield
        return
    # After the switch the path of our own would lead to the other one.
    with own.path.open("rb") as back:
        enter(namespace)
        try:
            yield
        finally:
            enter(Namespace(own.inode, Path(f"/proc/self/fd/{back.fileno()}")))


@contextmanager
def in_scratch_namespace() -> Iterator[None]:
    """Be in a new namespace that nobody else sees and that is gone afterwards."""
    own = own_namespace()
    with own.path.open("rb") as back:
        # os.unshare() is of Python 3.12.
        if _LIBC.unshare(CLONE_NEWNET) != 0:
            raise PrerequisiteError(
                f"cannot make a network namespace ({os.strerror(ctypes.get_errno())})",
                "run as root, or with CAP_SYS_ADMIN",
            )
        try:
            yield
        finally:
            enter(Namespace(own.inode, Path(f"/proc/self/fd/{back.fileno()}")))
