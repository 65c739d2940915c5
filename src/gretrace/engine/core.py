"""The engine that loads objects built ahead of time, fitted to this kernel by its BTF (CO-RE)."""

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from gretrace.contract import DropKey, DropStats, DropTotals, TupleFilter
from gretrace.engine import Lost
from gretrace.engine.binding import MESSAGES
from gretrace.engine.maps import BatchMap, Ring, read_element
from gretrace.engine.objects import BpfObject
from gretrace.engine.programs import program_info
from gretrace.engine.symbols import Symbols
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


class CoreProbe(ABC):
    """A tracing object from its file to its attached programs; close() undoes all."""

    stem: ClassVar[str]
    what: ClassVar[str]  # in words, for errors: "the ... probe"
    needs: ClassVar[str]  # what a kernel that refuses it lacks

    def __init__(self) -> None:
        self._ring: Ring | None = None
        self._programs: list[str] = []
        self._object = open_object(self.stem)
        try:
            self._start(self._object)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise self._explain(error) from error
            raise

    @abstractmethod
    def _start(self, bpf: BpfObject) -> None:
        """Size, fill, load and attach."""

    def _attach(self, program: str) -> None:
        self._object.attach(program)
        self._programs.append(program)

    def _missed(self) -> int:
        """Return how often a program did not run since it was running on that processor."""
        infos = (program_info(self._object.program_fd(name)) for name in self._programs)
        return sum(info.recursion_misses for info in infos)

    def fileno(self) -> int:
        """Return a descriptor that is readable when the programs sent something."""
        if self._ring is None:
            raise ValueError("closed")
        return self._ring.fileno()

    def close(self) -> None:
        """Detach and free everything; a second time it does nothing."""
        if self._ring:
            self._ring.close()
            self._ring = None
        self._object.close()

    def _explain(self, error: OSError) -> GretraceError:
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
            f"this kernel does not take the {self.what}: {detail}",
            f"it needs {self.needs}; -v shows what the kernel said",
        )


class CoreDrops(CoreProbe):
    """The drop program of bpf/kprobes/drop.bpf.c, attached to the tracepoint skb:kfree_skb."""

    PROGRAM = "count_drop"
    stem, what = "drop", "drop probe"
    needs = "BTF and the tracepoint skb:kfree_skb"

    def __init__(self, tuple_filter: TupleFilter, capacity: int) -> None:
        self._filter, self._capacity = tuple_filter, capacity
        self._symbols = Symbols()
        super().__init__()

    def _start(self, bpf: BpfObject) -> None:
        bpf.set_max_entries("drops", self._capacity)
        bpf.set_constants(".rodata.filter", self._filter)
        bpf.load()
        self._drops = BatchMap(bpf.map_fd("drops"), DropKey, DropStats)
        self._totals = bpf.map_fd("totals")
        self._ring = Ring(bpf.map_fd("bell"))
        self._attach(self.PROGRAM)

    def drain(self) -> None:
        """Make the descriptor unreadable again."""
        if self._ring:
            self._ring.take()

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Read every (struct drop_key, struct drop_stats)."""
        return self._symbols.named(self._drops.items())

    def lost(self) -> Lost:
        """Read what was lost so far."""
        totals = DropTotals()
        read_element(self._totals, totals)
        return Lost(totals.overflow, self._missed())
