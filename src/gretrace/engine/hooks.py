# SPDX-License-Identifier: GPL-2.0-only
"""Attaching programs to devices for longer than a command lives: XDP and tc ingress.

All of it acts in the network namespace of the caller.
"""

import ctypes
import errno
from abc import ABC, abstractmethod
from ctypes import byref, c_int, c_size_t, c_uint32, c_void_p
from typing import ClassVar

from gretrace.engine.binding import bind, check
from gretrace.engine.programs import program_name
from gretrace.host.netlink import xdp_program

# uapi/linux/if_link.h. Tunnel devices have no XDP of their own, so it is always the generic one.
XDP_FLAGS_UPDATE_IF_NOEXIST = 1
XDP_FLAGS_SKB_MODE = 2

BPF_TC_INGRESS = 1
# One fixed place among the filters of a device, so that ours is found again.
TC_HANDLE, TC_PRIORITY = 1, 0x4752

_xdp_attach = bind("bpf_xdp_attach", c_int, c_int, c_int, c_uint32, c_void_p)
_xdp_detach = bind("bpf_xdp_detach", c_int, c_int, c_uint32, c_void_p)
_tc_hook_create = bind("bpf_tc_hook_create", c_int, c_void_p)
_tc_attach = bind("bpf_tc_attach", c_int, c_void_p, c_void_p)
_tc_detach = bind("bpf_tc_detach", c_int, c_void_p, c_void_p)
_tc_query = bind("bpf_tc_query", c_int, c_void_p, c_void_p)


class _TcHook(ctypes.Structure):
    """struct bpf_tc_hook."""

    _fields_: ClassVar = [
        ("sz", c_size_t),
        ("ifindex", c_int),
        ("attach_point", c_int),
        ("parent", c_uint32),
    ]


class _TcOptions(ctypes.Structure):
    """struct bpf_tc_opts."""

    _fields_: ClassVar = [
        ("sz", c_size_t),
        ("prog_fd", c_int),
        ("flags", c_uint32),
        ("prog_id", c_uint32),
        ("handle", c_uint32),
        ("priority", c_uint32),
    ]


class Hook(ABC):
    """One of the two places on a device."""

    name: ClassVar[str]
    program: ClassVar[str]

    @abstractmethod
    def attached(self, ifindex: int) -> int | None:
        """Return the id of the program that is there; None also when the device is gone."""

    @abstractmethod
    def attach(self, ifindex: int, program_fd: int) -> None:
        """Attach; raises OSError EEXIST or EBUSY when another program is there."""

    @abstractmethod
    def detach(self, ifindex: int) -> None:
        """Detach whatever is there."""


class XdpHook(Hook):
    """Generic XDP."""

    name, program = "xdp", "gretrace_xdp"

    def attached(self, ifindex: int) -> int | None:
        """Return the id of the program that is there."""
        # libbpf's bpf_xdp_query_id() reads all links of the namespace to find the one.
        return xdp_program(ifindex)

    def attach(self, ifindex: int, program_fd: int) -> None:
        """Attach; raises OSError when another program is there."""
        flags = XDP_FLAGS_SKB_MODE | XDP_FLAGS_UPDATE_IF_NOEXIST
        check(_xdp_attach(ifindex, program_fd, flags, None), "attach by XDP")

    def detach(self, ifindex: int) -> None:
        """Detach whatever is there."""
        check(_xdp_detach(ifindex, XDP_FLAGS_SKB_MODE, None), "detach from XDP")


class TcHook(Hook):
    """The ingress of the clsact qdisc."""

    name, program = "tc", "gretrace_tc"

    def attached(self, ifindex: int) -> int | None:
        """Return the id of the program in our place."""
        options = self._options()
        status = _tc_query(byref(self._hook(ifindex)), byref(options))
        # EINVAL: the device has no clsact.
        if status in (-errno.ENOENT, -errno.EINVAL, -errno.ENODEV):
            return None
        check(status, "ask for the tc program")
        return int(options.prog_id) or None

    def attach(self, ifindex: int, program_fd: int) -> None:
        """Attach, with the qdisc that it needs."""
        hook, options = self._hook(ifindex), self._options()
        status = _tc_hook_create(byref(hook))
        if status != -errno.EEXIST:
            check(status, "create the clsact qdisc")
        options.prog_fd = program_fd
        check(_tc_attach(byref(hook), byref(options)), "attach by tc")

    def detach(self, ifindex: int) -> None:
        """Detach what is in our place. The qdisc stays: others may use it, and alone it is idle."""
        check(_tc_detach(byref(self._hook(ifindex)), byref(self._options())), "detach from tc")

    def _hook(self, ifindex: int) -> _TcHook:
        return _TcHook(ctypes.sizeof(_TcHook), ifindex, BPF_TC_INGRESS)

    def _options(self) -> _TcOptions:
        return _TcOptions(ctypes.sizeof(_TcOptions), handle=TC_HANDLE, priority=TC_PRIORITY)


class WireHook(TcHook):
    """The ingress of the clsact qdisc too, for the program that answers on the underlay."""

    name, program = "tc-wire", "gretrace_wire"


# In the order of their cost to ordinary traffic: generic XDP on a tunnel device keeps the
# kernel from aggregating packets (gro_cells_receive() asks netif_elide_gro()). The last one
# only knows the way to the peer that there was when it was attached.
HOOKS: tuple[Hook, ...] = (TcHook(), XdpHook(), WireHook())


def ours(hook: Hook, ifindex: int) -> int | None:
    """Return the id of the responder that is attached there; None when it is another program."""
    program_id = hook.attached(ifindex)
    if program_id and program_name(program_id) == hook.program:
        return program_id
    return None
