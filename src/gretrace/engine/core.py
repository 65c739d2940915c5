"""The engine that loads objects built ahead of time, fitted to this kernel by its BTF (CO-RE)."""

import errno
from collections.abc import Iterator
from pathlib import Path

from gretrace.contract import DropFilter, DropKey, DropStats, DropTotals
from gretrace.engine import Lost
from gretrace.engine.binding import MESSAGES
from gretrace.engine.maps import HashMap, Ring, read_element
from gretrace.engine.objects import BpfObject
from gretrace.engine.programs import program_info
from gretrace.errors import GretraceError, PrerequisiteError

OBJECTS = Path(__file__).parent.parent / "objects"
VMLINUX_BTF = Path("/sys/kernel/btf/vmlinux")


def open_object(stem: str) -> BpfObject:
    """Open bpf/**/{stem}.bpf.c as it was built into the package."""
    path = OBJECTS / f"{stem}.bpf.o"
    if not path.is_file():
        raise PrerequisiteError(
            f"the BPF object {stem}.bpf.o was not built", "build it: make -C bpf, or script/setup"
        )
    if not VMLINUX_BTF.exists():
        raise PrerequisiteError(
            f"this kernel has no BTF ({VMLINUX_BTF})",
            "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y",
        )
    return BpfObject(stem, path.read_bytes())


class CoreDrops:
    """The drop program of bpf/kprobes/drop.bpf.c, attached to the tracepoint skb:kfree_skb."""

    PROGRAM = "count_drop"

    def __init__(self, drop_filter: DropFilter, capacity: int) -> None:
        self._bell: Ring | None = None
        self._object = open_object("drop")
        try:
            self._start(drop_filter, capacity)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise _explain(error) from error
            raise

    def _start(self, drop_filter: DropFilter, capacity: int) -> None:
        self._object.set_max_entries("drops", capacity)
        self._object.set_constants(".rodata.filter", drop_filter)
        self._object.load()
        self._drops = HashMap(self._object.map_fd("drops"), DropKey, DropStats)
        self._totals = self._object.map_fd("totals")
        self._bell = Ring(self._object.map_fd("bell"))
        self._object.attach(self.PROGRAM)

    def fileno(self) -> int:
        """Return a descriptor that is readable once a new kind of drop was counted."""
        if self._bell is None:
            raise ValueError("closed")
        return self._bell.fileno()

    def drain(self) -> None:
        """Make the descriptor unreadable again."""
        if self._bell:
            self._bell.take()

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Read every (struct drop_key, struct drop_stats)."""
        return self._drops.items()

    def lost(self) -> Lost:
        """Read what was lost so far."""
        totals = DropTotals()
        info = program_info(self._object.program_fd(self.PROGRAM))
        read_element(self._totals, totals)
        return Lost(totals.overflow, info.recursion_misses)

    def close(self) -> None:
        """Detach and free everything."""
        if self._bell:
            self._bell.close()
            self._bell = None
        self._object.close()


def _explain(error: OSError) -> GretraceError:
    """Turn the kernel's refusal into one line; -v shows all that libbpf said."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return PrerequisiteError(
            "the kernel refuses to load BPF programs (operation not permitted)",
            "run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; "
            "kernel lockdown also forbids it",
        )
    said = next((line for line in MESSAGES.lines if "Error" in line or "failed" in line), "")
    detail = f"{error.strerror}" + (f" ({said})" if said else "")
    return PrerequisiteError(
        f"this kernel does not take the drop probe: {detail}",
        "it needs BTF and the tracepoint skb:kfree_skb; -v shows what the kernel said",
    )
