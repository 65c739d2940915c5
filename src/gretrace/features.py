"""What this kernel and this process can do, each with the reason when they cannot."""

import os
from pathlib import Path

from gretrace.errors import PrerequisiteError

PROC_MODULES = Path("/proc/modules")
PROC_STATUS = Path("/proc/self/status")
MODULES = Path("/lib/modules")

# linux/capability.h
CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF = 21, 12, 38, 39


def require_privilege() -> None:
    """Raise PrerequisiteError unless this process may load tracing programs and read tunnels."""
    held = _effective_capabilities()
    may_trace = held >> CAP_SYS_ADMIN & 1 or (held >> CAP_BPF & 1 and held >> CAP_PERFMON & 1)
    if not may_trace or not held >> CAP_NET_ADMIN & 1:
        raise PrerequisiteError(
            "tracing the kernel needs root",
            "run it with sudo, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
        )


def require_gre() -> None:
    """Raise PrerequisiteError when this kernel has no GRE, not even as a module to load."""
    if not has_gre():
        raise PrerequisiteError(
            f"the running kernel ({os.uname().release}) has no GRE and no module ip_gre to load",
            "boot a kernel with CONFIG_NET_IPGRE, or install the kernel's package of extra modules",
        )


def has_gre() -> bool:
    """Whether GRE over IPv4 is loaded, built in, or there to be loaded."""
    if _lists_gre(PROC_MODULES):
        return True
    installed = MODULES / os.uname().release
    if _lists_gre(installed / "modules.builtin") or _lists_gre(installed / "modules.dep"):
        return True
    # A container has no /lib/modules of its host; the names of built-in functions remain.
    from gretrace.engine.btf import kernel_has_function

    return kernel_has_function("gre_parse_header")


def _lists_gre(path: Path) -> bool:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return text.startswith("ip_gre ") or "\nip_gre " in text or "/ip_gre.ko" in text


def _effective_capabilities() -> int:
    for line in PROC_STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
