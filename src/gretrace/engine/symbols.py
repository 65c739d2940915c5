"""The kernel's functions by their addresses, for kernels whose programs cannot name them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from gretrace.engine.contract import DropKey, DropStats

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
        self._names: dict[int, bytes] = {}

    def named(self, entries: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Fill in the empty places of (struct drop_key, struct drop_stats)."""
        unknown = []
        for key, stats in entries:
            if stats[DropStats.place.offset]:
                yield key, stats
            elif _location(key) in self._names:
                yield key, self._fill_in(key, stats)
            else:
                unknown.append((key, stats))
        if unknown:
            self._names |= self._look_up({_location(key) for key, _ in unknown})
        for key, stats in unknown:
            yield key, self._fill_in(key, stats)

    def _fill_in(self, key: bytes, stats: bytes) -> bytes:
        place = DropStats.place
        name = self._names[_location(key)].ljust(place.size, b"\0")
        return stats[: place.offset] + name + stats[place.offset + place.size :]

    def _look_up(self, addresses: set[int]) -> dict[int, bytes]:
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


def _location(key: bytes) -> int:
    return int(DropKey.from_buffer_copy(key).location)


def _name(symbol: str) -> bytes:
    """Write a line of the list as the kernel's %pB does, without the offset."""
    return " ".join(symbol.split()).encode("ascii", "replace")[: DropStats.place.size - 1]
