# SPDX-License-Identifier: GPL-2.0-only
"""What this kernel and this process can do, each with the reason when they cannot."""

import os
import re
from pathlib import Path

from gretrace.errors import PrerequisiteError

PROC_MODULES = Path("/proc/modules")
PROC_STATUS = Path("/proc/self/status")
MODULES = Path("/lib/modules")

# A function that tells that a module is part of the kernel.
OF_MODULE = {
    "ip_gre": "gre_parse_header",
    "ip6_gre": "ip6gre_tunnel_lookup",
    "ip_tunnel": "ip_tunnel_lookup",
    "nf_conntrack": "nf_conntrack_in",
}

# linux/capability.h
CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF = 21, 12, 38, 39


def require_privilege() -> None:
    """Raise PrerequisiteError unless this process may load tracing programs and read tunnels."""
    if lacking_capabilities():
        raise PrerequisiteError(
            "tracing the kernel needs root",
            "run it with sudo, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
        )


def lacking_capabilities() -> list[str]:
    """Return the names of the capabilities that this process would need and has not."""
    held = _effective_capabilities()
    needed = {"CAP_NET_ADMIN": CAP_NET_ADMIN}
    if not held >> CAP_SYS_ADMIN & 1:
        needed |= {"CAP_BPF": CAP_BPF, "CAP_PERFMON": CAP_PERFMON}
    return [name for name, number in needed.items() if not held >> number & 1]


def require_gre() -> None:
    """Raise PrerequisiteError when this kernel has no GRE, not even as a module to load."""
    if not has_gre():
        raise PrerequisiteError(
            f"the running kernel ({os.uname().release}) has no GRE and no module ip_gre to load",
            "boot a kernel with CONFIG_NET_IPGRE, or install the kernel's package of extra modules",
        )


def has_gre() -> bool:
    """Whether GRE over IPv4 is loaded, built in, or there to be loaded."""
    return module_state("ip_gre") is not None


def module_state(module: str) -> str | None:
    """Tell whether a module is "loaded", "built in" or "loadable"; None where there is none."""
    if re.search(rf"^{module} ", _read(PROC_MODULES), re.MULTILINE):
        return "loaded"
    installed = MODULES / os.uname().release
    if f"/{module}.ko" in _read(installed / "modules.builtin"):
        return "built in"
    if f"/{module}.ko" in _read(installed / "modules.dep"):
        return "loadable"
    # A container has no /lib/modules of its host; the names of built-in functions remain.
    function = OF_MODULE.get(module)
    return "built in" if function and _has_function(function) else None


def _has_function(name: str) -> bool:
    from gretrace.engine.btf import BTF_DIRECTORY, kernel_has_function
    from gretrace.engine.symbols import functions_among

    # The list of symbols is long; where there is BTF, asking that is quicker.
    if (BTF_DIRECTORY / "vmlinux").exists():
        return kernel_has_function(name)
    return bool(functions_among({name}))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _effective_capabilities() -> int:
    for line in PROC_STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
