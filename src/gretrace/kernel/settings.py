# SPDX-License-Identifier: GPL-2.0-only
"""Kernel settings of a device: what they are called, and what the kernel makes of them."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

# Returns the value of a setting by its dotted name; None where there is none.
Read: TypeAlias = Callable[[str], str | None]

FORWARD = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


LABELS = "net.mpls.platform_labels"  # how many labels of MPLS there can be routes for


def mpls_input(device: str) -> str:
    """Name the setting that lets MPLS in on a device, as sysctl(8) takes it."""
    return f"net.mpls.conf.{device.replace('.', '/')}.input"


def setting_name(device: str, leaf: str, family: int = 4) -> str:
    """Name a setting of a device, or of `all`, as sysctl(8) takes it."""
    # A device's name may have dots, which sysctl(8) wants as slashes.
    return f"net.ipv{family}.conf.{device.replace('.', '/')}.{leaf}"


def read_number(read: Read, name: str) -> int | None:
    """Read a setting; None where it is not known."""
    value = read(name)
    return int(value) if value and value.isdigit() else None


def of_both(read: Read, device: str, leaf: str) -> dict[str, int | None]:
    """Read a setting of `all` and of a device, by their names."""
    names = (setting_name(of, leaf) for of in ("all", device))
    return {name: read_number(read, name) for name in names}


def reverse_path(read: Read, device: str) -> int | None:
    """Return rp_filter as the kernel takes it, the greater of two (IN_DEV_RPFILTER())."""
    known = [v for v in of_both(read, device, "rp_filter").values() if v is not None]
    return max(known) if known else None


def accepts_own(read: Read, device: str) -> bool:
    """Whether packets from our own addresses may come in (IN_DEV_ACCEPT_LOCAL())."""
    return any(of_both(read, device, "accept_local").values())


def forwards(read: Read, device: str, family: int) -> bool | None:
    """Whether what comes by a device is forwarded; None where it is not known.

    IN_DEV_FORWARD() of ip_route_input_slow() asks the device, ip6_forward() the namespace.
    """
    of = device if family == 4 else "all"
    value = read_number(read, setting_name(of, "forwarding", family))
    return None if value is None else value != 0


def without_reverse_path(read: Read, device: str) -> dict[str, int]:
    """Return the settings to make so that no source is checked: 0 in the one that is not."""
    return {n: 0 for n, value in of_both(read, device, "rp_filter").items() if value != 0}


def missing_for_keepalives(read: Read, device: str, family: int) -> dict[str, int]:
    """Return the settings that keep the kernel from answering keepalives on a tunnel by itself.

    That is to forward what they carry back where it came from. The kernel checks forwarding,
    accept_local and rp_filter one after another, so all are told; what is not known counts as
    not made. `family` is that of the packet inside.
    """
    of = device if family == 4 else "all"
    missing = {} if forwards(read, device, family) else {setting_name(of, "forwarding", family): 1}
    if family == 6:
        disabled = setting_name(device, "disable_ipv6", 6)
        return missing | ({disabled: 0} if read_number(read, disabled) else {})
    if not accepts_own(read, device):
        missing[setting_name(device, "accept_local")] = 1
    return missing | without_reverse_path(read, device)


def assignments(settings: Mapping[str, int]) -> list[str]:
    """Write settings as sysctl(8) takes them."""
    return [f"{name}={value}" for name, value in settings.items()]
