# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel and the installed packages offer."""

import os
from collections.abc import Iterator
from pathlib import Path

from gretrace.checks.registry import Check, Machine, State, check
from gretrace.commands import HERE, run, sysctl
from gretrace.engine import (
    bcc_version,
    drop_reasons,
    engine_said,
    has_headers,
    libbpf_version,
    open_drops,
    open_lookups,
)
from gretrace.engine.refusals import install_headers
from gretrace.engine.wanted import Wanted
from gretrace.errors import PrerequisiteError
from gretrace.host import features

# A namespace that none has: the probes attach, and count nothing.
NOWHERE = Wanted(netns=1).to_record()
BTF = Path("/sys/kernel/btf")
KPROBES = Path("/sys/bus/event_source/devices/kprobe")
LOCKDOWN = Path("/sys/kernel/security/lockdown")
JIT = Path("/proc/sys/net/core/bpf_jit_enable")
WITHOUT_BTF = "only for kernels without BTF: "


@check("privileges")
def privileges(_machine: Machine) -> Iterator[Check]:
    """Root, or the exact capabilities."""
    lacking = features.lacking_capabilities()
    if lacking:
        remedy = f"run with sudo, or give {', '.join(lacking)}"
        yield Check("privileges", State.MISSING, f"no {', no '.join(lacking)}", remedy)
    else:
        yield Check("privileges", State.OK, "root" if os.geteuid() == 0 else "enough capabilities")


@check("kernel lockdown")
def kernel_lockdown(_machine: Machine) -> Iterator[Check]:
    """Kernel lockdown in its strictest form forbids BPF programs to read the kernel."""
    if LOCKDOWN.exists() and "[confidentiality]" in LOCKDOWN.read_text():
        remedy = "boot without lockdown=confidentiality"
        yield Check("kernel lockdown", State.MISSING, "confidentiality", remedy)


@check("GRE")
def gre_in_the_kernel(_machine: Machine) -> Iterator[Check]:
    """GRE over IPv4, which is needed, and over IPv6."""
    release = os.uname().release
    for module, config, needed in (
        ("ip_gre", "CONFIG_NET_IPGRE", True),
        ("ip6_gre", "CONFIG_IPV6_GRE", False),
    ):
        how = features.module_state(module)
        name = "GRE over IPv6" if module == "ip6_gre" else "GRE over IPv4"
        if how == "loadable":
            load = run(HERE, "modprobe", module)
            state = State.WARNING if needed else State.ABSENT
            yield Check(name, state, f"module {module} is there, but not loaded", load)
        elif how:
            yield Check(name, State.OK, f"{module} is {how}")
        else:
            state = State.MISSING if needed else State.ABSENT
            remedy = f"boot a kernel with {config}, or install its package of extra modules"
            yield Check(name, state, f"kernel {release} has no {module}", remedy)


@check("BTF")
def kernel_types(_machine: Machine) -> Iterator[Check]:
    """BTF of the kernel, and of its modules."""
    if not (BTF / "vmlinux").exists():
        remedy = "boot a kernel with CONFIG_DEBUG_INFO_BTF=y, or let bcc compile the probes"
        yield Check("BTF", State.ABSENT, "the kernel has none", remedy)
        return
    yield Check("BTF", State.OK, "of the kernel")
    if features.module_state("ip_tunnel") != "loaded":
        return
    if (BTF / "ip_tunnel").exists():
        yield Check("module BTF", State.OK, "of ip_tunnel")
    else:
        remedy = "boot a kernel with CONFIG_DEBUG_INFO_BTF_MODULES=y, or let bcc compile the probes"
        yield Check("module BTF", State.ABSENT, "the modules have none", remedy)


@check("explain-drop")
def drop_tracepoint(_machine: Machine) -> Iterator[Check]:
    """The tracepoint skb:kfree_skb, tried, and whether it carries reasons."""
    open_drops(NOWHERE, 1).close()
    reasons = len(drop_reasons())
    told = f"{reasons} drop reasons" if reasons else "no drop reasons"
    yield Check("explain-drop", State.OK, f"attached and detached; {told}; {engine_said()}")


@check("lookup --follow")
def lookup_probes(_machine: Machine) -> Iterator[Check]:
    """The programs at the exit of the tunnel lookup, tried."""
    how = features.module_state("ip_gre")
    if how not in ("loaded", "built in"):
        remedy = run(HERE, "modprobe", "ip_gre") if how else None
        yield Check("lookup --follow", State.ABSENT, "GRE is not there to be watched", remedy)
        return
    lookups = open_lookups(NOWHERE, 1, 1)
    try:
        without = "" if lookups.watches_ipv6 else "; without IPv6"
    finally:
        lookups.close()
    yield Check("lookup --follow", State.OK, f"attached and detached{without}; {engine_said()}")


@check("libbpf")
def libraries(_machine: Machine) -> Iterator[Check]:
    """libbpf, and bcc for kernels without BTF."""
    yield Check("libbpf", State.OK, libbpf_version())
    try:
        yield Check("bcc", State.OK, bcc_version())
    except PrerequisiteError as error:
        yield Check("bcc", State.ABSENT, error.what, WITHOUT_BTF + error.remedy)


@check("kernel headers")
def build_tools(_machine: Machine) -> Iterator[Check]:
    """What only a kernel without BTF needs."""
    release = os.uname().release
    if has_headers():
        yield Check("kernel headers", State.OK, f"of {release}")
    else:
        remedy = WITHOUT_BTF + install_headers()
        yield Check("kernel headers", State.ABSENT, "not installed", remedy)
    if KPROBES.exists():
        yield Check("kprobes", State.OK, "in the kernel")
    else:
        remedy = WITHOUT_BTF + "boot one with CONFIG_KPROBE_EVENTS=y"
        yield Check("kprobes", State.ABSENT, "the kernel has none", remedy)


@check("BPF JIT")
def bpf_compiler(_machine: Machine) -> Iterator[Check]:
    """Interpreted programs cost several times as much."""
    if JIT.exists() and JIT.read_text().strip() == "0":
        remedy = sysctl(HERE, {"net.core.bpf_jit_enable": 1})
        yield Check("BPF JIT", State.WARNING, "off: the responder and the probes are slow", remedy)


@check("conntrack of GRE")
def connection_tracking(machine: Machine) -> Iterator[Check]:
    """GRE in conntrack, which tells tunnels through NAT apart by their keys."""
    if features.module_state("nf_conntrack") not in ("loaded", "built in"):
        return
    # Part of nf_conntrack itself since v5.1, 22fc4c4c9fd6 ("netfilter: conntrack: gre: switch
    # module to be built-in"); its timeouts are there only with it.
    if machine.host.sysctl("net.netfilter.nf_conntrack_gre_timeout") is not None:
        yield Check("conntrack of GRE", State.OK, "in nf_conntrack")
    else:
        load = run(HERE, "modprobe", "nf_conntrack_proto_gre")
        remedy = f"{load}, or boot a kernel with CONFIG_NF_CT_PROTO_GRE"
        found = "conntrack runs without it: a rule on state INVALID may drop GRE"
        yield Check("conntrack of GRE", State.WARNING, found, remedy)
