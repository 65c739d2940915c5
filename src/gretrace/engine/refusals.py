# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel or machine refuses, in one line each, whichever engine asked."""

import os
import sys

from gretrace.errors import PrerequisiteError, Remedy


def install_headers() -> str:
    """Return how to install the headers of the running kernel."""
    release = os.uname().release
    return (
        f"install the kernel's headers: linux-headers-{release} on Debian and Ubuntu, "
        f"kernel-devel-{release} on Fedora and RHEL"
    )


def no_privilege() -> PrerequisiteError:
    """Return what to raise where BPF programs may not be loaded."""
    return PrerequisiteError(
        "the kernel refuses to load BPF programs (operation not permitted)",
        "run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; "
        "kernel lockdown also forbids it",
    )


def too_many_kinds() -> PrerequisiteError:
    """Return what to raise where the table is larger than the kernel allows."""
    return PrerequisiteError("the table of kinds does not fit into memory", Remedy.FEWER_KINDS)


def no_tunnels() -> PrerequisiteError:
    """Return what to raise where the functions of GRE are not in the kernel."""
    return PrerequisiteError(
        "the modules gre and ip_tunnel are not loaded, so this kernel has no GRE tunnel yet",
        "load them: modprobe ip_gre",
    )


def not_built(file: str) -> PrerequisiteError:
    """Return what to raise where the package lacks what is made of bpf/."""
    return PrerequisiteError(f"{file} was not built", "build it: make -C bpf, or script/setup")


def other_byte_order(file: str) -> PrerequisiteError:
    """Return what to raise where an object is for machines of the other byte order."""
    return PrerequisiteError(
        f"{file} was built for the other byte order, this machine is {sys.byteorder}-endian",
        "install gretrace from its sources, which builds it for this machine",
    )
