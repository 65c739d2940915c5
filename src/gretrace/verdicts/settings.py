"""Kernel settings of a device: what they are called, and what they are."""

from gretrace.verdicts.case import Case


def setting_name(device: str, leaf: str, family: int = 4) -> str:
    """Name a setting of a device, or of `all`, as sysctl(8) takes it."""
    # A device's name may have dots, which sysctl(8) wants as slashes.
    version = "ipv4" if family == 4 else "ipv6"
    return f"net.{version}.conf.{device.replace('.', '/')}.{leaf}"


def read_number(case: Case, name: str) -> int | None:
    """Read a setting; None where it is not known."""
    value = case.host.sysctl(name)
    return int(value) if value and value.isdigit() else None


def reverse_path(case: Case, device: str) -> int | None:
    """Return rp_filter as the kernel takes it, the greater of two (IN_DEV_RPFILTER())."""
    values = _both(case, device, "rp_filter").values()
    known = [value for value in values if value is not None]
    return max(known) if known else None


def describe_reverse_path(case: Case, device: str) -> str:
    """Tell both values of rp_filter, and which counts."""
    mode = {0: "off", 1: "strict", 2: "loose"}
    both = " and ".join(
        f"{name} is {_show(v)}" for name, v in _both(case, device, "rp_filter").items()
    )
    counts = reverse_path(case, device)
    if counts is None:
        return f"{both}."
    return f"{both}: the greater one counts, {counts} ({mode.get(counts, 'unknown')})."


def accepts_own(case: Case, device: str) -> bool:
    """Whether packets from our own addresses may come in (IN_DEV_ACCEPT_LOCAL())."""
    return any(_both(case, device, "accept_local").values())


def without_reverse_path(case: Case, device: str) -> dict[str, int]:
    """Return the settings to make so that no source is checked: 0 in the one that is not."""
    return {name: 0 for name, value in _both(case, device, "rp_filter").items() if value != 0}


def _both(case: Case, device: str, leaf: str) -> dict[str, int | None]:
    names = (setting_name(of, leaf) for of in ("all", device))
    return {name: read_number(case, name) for name in names}


def _show(value: int | None) -> str:
    return "unknown" if value is None else str(value)
