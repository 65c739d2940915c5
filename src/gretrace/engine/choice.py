# SPDX-License-Identifier: GPL-2.0-only
"""Which engine loads a probe."""

from collections.abc import Callable
from typing import TypeVar

from gretrace.engine.binding import MESSAGES
from gretrace.engine.probes import LoadedProbe, Probe, Settings
from gretrace.errors import NotForCoreError, PrerequisiteError

Table = TypeVar("Table")


def attach(
    table: Callable[[LoadedProbe], Table], probe: Probe, settings: Settings, engine: str
) -> Table:
    """Return a table over a probe that is attached, loaded by the engine of that name.

    "auto" takes core where the kernel does, else bcc: it may lack BTF, or that of its modules,
    or what fexit stands on (as arm64 did before v6.0, efc9909fdce0 "bpf, arm64: Add bpf
    trampoline for arm64"). Raises PrerequisiteError where neither can.
    """
    if engine == "bcc":
        return _by_bcc(table, probe, settings, "asked for")
    from gretrace.engine.core import CoreProbe

    try:
        attached = table(CoreProbe(probe, settings))
    except NotForCoreError as lacking:
        if engine == "core":
            raise
        try:
            return _by_bcc(table, probe, settings, lacking.what)
        except PrerequisiteError as error:
            raise PrerequisiteError(f"{lacking.what}, and {error.what}", error.remedy) from error
    MESSAGES.lines.append(f"engine core: the {probe.what} fits this kernel by its BTF")
    return attached


def _by_bcc(
    table: Callable[[LoadedProbe], Table], probe: Probe, settings: Settings, why: str
) -> Table:
    from gretrace.engine.bcc import BccProbe

    MESSAGES.lines.append(f"engine bcc: {why}")
    return table(BccProbe(probe, settings))
