"""Network namespaces: found by name, process or inode, and entered for a moment."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gretrace.commands import HERE, Netns
from gretrace.errors import PrerequisiteError, UsageError

CLONE_NEWNET = 0x40000000
NAMED = Path("/run/netns")
PROC = Path("/proc")


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


def enter(namespace: Namespace) -> None:
    """Be in a namespace from now on.

    Raises PrerequisiteError where that is not allowed.
    """
    with namespace.path.open("rb") as there:
        # os.setns() is of Python 3.12.
        if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), CLONE_NEWNET) == 0:
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
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            raise PrerequisiteError(
                f"cannot make a network namespace ({os.strerror(ctypes.get_errno())})",
                "run as root, or with CAP_SYS_ADMIN",
            )
        try:
            yield
        finally:
            enter(Namespace(own.inode, Path(f"/proc/self/fd/{back.fileno()}")))
