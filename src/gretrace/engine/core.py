# SPDX-License-Identifier: GPL-2.0-only
"""The engine that loads objects built ahead of time, fitted to this kernel by its BTF (CO-RE)."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gretrace.engine.binding import MESSAGES
from gretrace.engine.btf import BTF_DIRECTORY, module_has_function
from gretrace.engine.maps import EventRing, Ring
from gretrace.engine.objects import BpfObject
from gretrace.engine.probes import Exit, Probe, Settings, Tracepoint
from gretrace.engine.programs import program_info
from gretrace.engine.refusals import (
    no_privilege,
    no_tunnels,
    not_built,
    other_byte_order,
    too_many_kinds,
)
from gretrace.engine.symbols import functions_among
from gretrace.errors import NotForCoreError, PrerequisiteError, Remedy

OBJECTS = Path(__file__).parent.parent / "objects"
# uapi/linux/elf.h: the byte of an object that tells its byte order.
EI_DATA = 5
BYTE_ORDERS = {"little": 1, "big": 2}
VMLINUX_BTF = BTF_DIRECTORY / "vmlinux"


def open_object(stem: str) -> BpfObject:
    """Open bpf/**/{stem}.bpf.c as it was built into the package; BTF is not needed for that."""
    path = OBJECTS / f"{stem}.bpf.o"
    if not path.is_file():
        raise not_built(path.name)
    image = path.read_bytes()
    if image[EI_DATA] != BYTE_ORDERS[sys.byteorder]:
        raise other_byte_order(path.name)
    return BpfObject(stem, image)


class CoreProbe:
    """A probe by libbpf. Raises PrerequisiteError where this kernel or machine cannot do it."""

    def __init__(self, probe: Probe, settings: Settings) -> None:
        self._probe = probe
        self._rings: list[EventRing] = []
        if not VMLINUX_BTF.exists():
            raise NotForCoreError(
                f"this kernel has no BTF ({VMLINUX_BTF})",
                "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y",
            )
        self._object = open_object(probe.stem)
        try:
            self._programs = _present(probe)
            with self._explained():
                self._load(settings)
        except BaseException:
            self.close()
            raise

    def _load(self, settings: Settings) -> None:
        for program in self._probe.programs.keys() - set(self._programs):
            self._object.leave_out(program)
        self._object.set_max_entries(self._probe.table, settings.capacity)
        for name, value in settings.constants.items():
            self._object.set_constants(f".rodata.{name}", value)
        self._object.load()

    def has(self, program: str) -> bool:
        """Whether a program is among those that were loaded."""
        return program in self._programs

    def map_fd(self, name: str) -> int:
        """Return the descriptor of a map."""
        return self._object.map_fd(name)

    def open_ring(self, name: str, _room: int) -> EventRing:
        """Open a ring buffer; its room is in the object."""
        self._rings.append(Ring(self.map_fd(name)))
        return self._rings[-1]

    def attach(self) -> None:
        """Attach all, in the order of the probe's rows."""
        with self._explained():
            for program in self._programs:
                self._object.attach(program)

    def missed(self) -> int:
        """Return how often a program did not run since it was running on that processor."""
        infos = (program_info(self._object.program_fd(name)) for name in self._programs)
        return sum(info.recursion_misses for info in infos)

    def close(self) -> None:
        """Detach and free everything; a second time it does nothing."""
        while self._rings:
            self._rings.pop().close()
        self._object.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> PrerequisiteError:
        """Turn the kernel's refusal into one line, less than libbpf said."""
        if error.errno == errno.EPERM:
            return no_privilege()
        if error.errno in (errno.ENOMEM, errno.E2BIG):
            return too_many_kinds()
        said = next((line for line in MESSAGES.lines if "Error" in line or "failed" in line), "")
        detail = f"{error.strerror}" + (f" ({said})" if said else "")
        return NotForCoreError(
            f"this kernel does not take the {self._probe.what}: {detail}",
            f"it needs BTF, tp_btf and fexit; {Remedy.MORE_WORDS}",
        )


def _present(probe: Probe) -> list[str]:
    """Return the programs that have something to be attached to.

    Raises PrerequisiteError when one that is needed has not, NotForCoreError when only its
    BTF is missing.
    """
    present = []
    for name, place in probe.programs.items():
        if isinstance(place, Tracepoint) or _is_described(place):
            present.append(name)
        elif not place.optional:
            if functions_among({place.function}):
                raise NotForCoreError(
                    f"this kernel has no BTF for its modules ({BTF_DIRECTORY / place.module})",
                    "boot a kernel built with CONFIG_DEBUG_INFO_BTF_MODULES=y",
                )
            raise no_tunnels()
    return present


def _is_described(place: Exit) -> bool:
    # To look into BTF takes longer than all the rest; what every such module has needs no look.
    known = not place.optional and (BTF_DIRECTORY / place.module).exists()
    return known or module_has_function(place.module, place.function)
