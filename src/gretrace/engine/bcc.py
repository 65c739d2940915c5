# SPDX-License-Identifier: GPL-2.0-only
"""The engine that compiles the programs where they run, by bcc, for kernels without BTF."""

import ctypes
import os
import sys
from collections.abc import Iterable
from ctypes import c_int, c_void_p
from pathlib import Path
from typing import Any

from gretrace.engine.binding import bind
from gretrace.engine.compiler import compile_text, load_bcc, quoting
from gretrace.engine.core import OBJECTS
from gretrace.engine.layout import HEADERS, Field, definitions
from gretrace.engine.maps import EventRing, PerfRings, Ring
from gretrace.engine.probes import Exit, Probe, Settings, Tracepoint
from gretrace.engine.programs import program_info
from gretrace.engine.refusals import install_headers, no_tunnels, not_built
from gretrace.engine.symbols import functions_among
from gretrace.errors import PrerequisiteError, Remedy

SOURCES = OBJECTS / "bcc"
KPROBES = Path("/sys/bus/event_source/devices/kprobe")
MODULES = Path("/lib/modules")
KHEADERS = Path("/sys/kernel/kheaders.tar.xz")
# BPF_ALU64 | BPF_MOV | BPF_K into register 0
_LOAD_R0 = b"\xb7\x00"

# uapi/linux/bpf.h
_PROG_TYPE_KPROBE, _MAP_TYPE_RINGBUF = 2, 27
# Younger helpers by their number, and what does for them: v5.5, 6ae08ae3dea2 ("bpf: Add
# probe_read_{user, kernel} and probe_read_{user, kernel}_str helpers"); v5.6, 5576b991e9c1 ("bpf:
# Add BPF_FUNC_jiffies64"), for which a clock that never stands still only costs more.
_YOUNG_HELPERS = {
    113: ("bpf_probe_read_kernel", "bpf_probe_read"),
    115: ("bpf_probe_read_kernel_str", "bpf_probe_read_str"),
    118: ("bpf_jiffies64", "bpf_ktime_get_ns"),
}

_probe_helper = bind("libbpf_probe_bpf_helper", c_int, c_int, c_int, c_void_p)
_probe_map_type = bind("libbpf_probe_bpf_map_type", c_int, c_int, c_void_p)


def has_rings() -> bool:
    """Whether the running kernel has ring buffers (v5.8)."""
    return bool(_probe_map_type(_MAP_TYPE_RINGBUF, None) > 0)


class BccProbe:
    """A probe by bcc. Raises PrerequisiteError where this kernel or machine cannot do it."""

    def __init__(self, probe: Probe, settings: Settings) -> None:
        self._probe = probe
        self._rings: list[EventRing] = []
        self._counting: list[Any] = []
        self._bpf: Any = None
        self._bcc = load_bcc()
        self._programs = _present(probe)
        self._has_rings = has_rings()
        variant = "" if self._has_rings else ".perf"
        path = SOURCES / f"{probe.stem}{variant}.c"
        if not path.is_file():
            raise not_built(f"bcc/{path.name}")
        source = path.read_text()
        text = _prelude(source, settings) + source
        self._bpf = compile_text(self._bcc, text, SOURCES, probe.what)

    def has(self, program: str) -> bool:
        """Whether a program is among those that can be attached."""
        return program in self._programs

    def map_fd(self, name: str) -> int:
        """Return the descriptor of a map."""
        fd = int(self._bcc.libbcc.lib.bpf_table_fd(self._bpf.module, name.encode()))
        if fd < 0:
            raise ValueError(f"no map {name}")
        return fd

    def open_ring(self, name: str, room: int) -> EventRing:
        """Open a ring buffer, or what does for it on this kernel."""
        fd = self.map_fd(name)
        self._rings.append(Ring(fd) if self._has_rings else PerfRings(fd, room))
        return self._rings[-1]

    def attach(self) -> None:
        """Load and attach all, in the order of the probe's rows."""
        with quoting(f"this kernel does not take the {self._probe.what} of bcc", _WHAT_IT_NEEDS):
            for program in self._programs:
                self._attach(program, self._probe.programs[program])

    def _attach(self, program: str, place: Tracepoint | Exit) -> None:
        bpf, name = self._bpf, program.encode()
        if isinstance(place, Tracepoint):
            self._counting.append(bpf.load_func(name, self._bcc.BPF.RAW_TRACEPOINT))
            bpf.attach_raw_tracepoint(tp=place.name.encode(), fn_name=name)
            return
        entry = name + b"_entry"
        bpf.load_func(entry, self._bcc.BPF.KPROBE)
        self._counting.append(bpf.load_func(name, self._bcc.BPF.KPROBE))
        # The return first: one whose entry was not seen finds zeros, and so no packet.
        bpf.attach_kretprobe(event=place.function.encode(), fn_name=name)
        bpf.attach_kprobe(event=place.function.encode(), fn_name=entry)

    def missed(self) -> int:
        """Return how often a program did not run since another was running on that processor.

        Of kprobes only kernels since v6.7 count it.
        """
        return sum(program_info(loaded.fd).recursion_misses for loaded in self._counting)

    def close(self) -> None:
        """Detach and free everything; a second time it does nothing."""
        while self._rings:
            self._rings.pop().close()
        if self._bpf is not None:
            self._bpf.cleanup()
            self._bpf = None


_WHAT_IT_NEEDS = f"it needs kprobes and raw tracepoints; {Remedy.MORE_WORDS}"


def _present(probe: Probe) -> list[str]:
    """Return the programs that have something to be attached to."""
    if probe.exits and not KPROBES.exists():
        raise PrerequisiteError("the kernel has no kprobes", "boot one with CONFIG_KPROBE_EVENTS=y")
    functions = functions_among({place.function for place in probe.exits.values()})
    for place in probe.exits.values():
        if not place.optional and place.function not in functions:
            raise no_tunnels()
    missing = {name for name, place in probe.exits.items() if place.function not in functions}
    return [name for name in probe.programs if name not in missing]


def _prelude(source: str, settings: Settings) -> str:
    """Return what the source leaves to its compilation: the kernel's layout and the settings."""
    lines = [
        "#include <asm/ptrace.h>",
        f"#define CAPACITY {settings.capacity}",
        f"#define PAGE_SIZE {os.sysconf('SC_PAGE_SIZE')}",
    ]
    lines += [
        f"#define CONSTANT_{name} {initializer(value)}"
        for name, value in settings.constants.items()
    ]
    lines += [
        f"#define {young} {old}"
        for number, (young, old) in _YOUNG_HELPERS.items()
        if _probe_helper(_PROG_TYPE_KPROBE, number, None) == 0
    ]
    others = (path.read_text() for path in sorted(SOURCES.glob("*.c")))
    return "\n".join(lines) + "\n" + definitions(source, others, ask_headers)


def initializer(value: Any) -> str:
    """Write a ctypes structure as C does."""
    if isinstance(value, ctypes.Structure):
        parts = [getattr(value, name) for name, *_ in value._fields_]
    elif isinstance(value, ctypes.Array):
        parts = list(value)
    else:
        return str(int(value))
    return "{" + ", ".join(map(initializer, parts)) + "}"


def has_headers() -> bool:
    """Whether bcc will find headers of the running kernel, or has been told where they are."""
    return (
        "BCC_KERNEL_SOURCE" in os.environ
        or KHEADERS.exists()
        or (MODULES / os.uname().release / "build").is_dir()
    )


def ask_headers(fields: Iterable[Field]) -> dict[Field, int]:
    """Return where fields lie, in bytes, by the headers of the running kernel.

    Raises PrerequisiteError when they are not installed.
    """
    wanted = list(fields)
    release = os.uname().release
    # A program that returns a number begins with the instruction that loads it.
    text = "".join(f"#include <{header}>\n" for header in HEADERS) + "".join(
        f"int field_{number}(void *ctx) {{ return offsetof(struct {structure}, {field}); }}\n"
        for number, (structure, field) in enumerate(wanted)
    )
    try:
        bpf = compile_text(load_bcc(), text, None, f"headers of {release}")
    except PrerequisiteError as error:
        # Asked only now, as bcc may have loaded the module kheaders.
        if has_headers():
            raise
        raise PrerequisiteError(
            "there are no headers of this kernel to tell where its fields lie",
            install_headers(),
        ) from error
    try:
        return {
            field: _returned(bpf.dump_func(f"field_{number}".encode()))
            for number, field in enumerate(wanted)
        }
    finally:
        bpf.cleanup()


def _returned(code: bytes) -> int:
    """Return the constant that a program returns, by its first instruction."""
    if code[:2] != _LOAD_R0:
        raise PrerequisiteError(
            "bcc compiles in a way that gretrace does not know", "boot a kernel that has BTF"
        )
    return int.from_bytes(code[4:8], sys.byteorder)
