# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's functions by their addresses, for kernels whose programs cannot name them."""

from collections.abc import Iterable
from pathlib import Path

from gretrace.engine.contract import PLACE_SIZE

KALLSYMS = Path("/proc/kallsyms")
_CODE = "tTwW"


def functions_among(names: set[str]) -> set[str]:
    """Return those functions that are in the kernel or its loaded modules."""
    with KALLSYMS.open(encoding="ascii", errors="replace") as symbols:
        return {
            name
            for line in symbols
            if (name := line[19:].partition("\t")[0].rstrip()) in names and line[17] in _CODE
        }


class Symbols:
    """Names the places of drops where bpf_snprintf() is missing (before v5.13)."""

    def __init__(self, path: Path = KALLSYMS) -> None:
        self.hidden = False  # the addresses of the list, which takes CAP_SYSLOG to see
        self._path = path

    def names(self, addresses: Iterable[int]) -> dict[int, bytes]:
        """Find the function before each address, in one pass: the list is long, and not sorted."""
        # Sixteen digits each, so that text compares as the numbers do. What is freed is called
        # from before the return address, which may lie behind the function's end.
        wanted = {f"{address - 1:016x}": address for address in addresses}
        best = dict.fromkeys(wanted, ("0" * 16, ""))
        with self._path.open(encoding="ascii", errors="replace") as symbols:
            for line in symbols:
                if line[17] not in _CODE:
                    continue
                start = line[:16]
                for text, found in best.items():
                    if found[0] < start <= text:
                        best[text] = (start, line[19:])
        self.hidden = not any(name for _, name in best.values())
        return {wanted[text]: _name(found) for text, (_, found) in best.items()}


def _name(symbol: str) -> bytes:
    """Write a line of the list as the kernel's %pB does, without the offset."""
    return " ".join(symbol.split()).encode("ascii", "replace")[: PLACE_SIZE - 1]
