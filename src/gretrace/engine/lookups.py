"""The lookup programs of bpf/kprobes/lookup.bpf.c, attached behind the kernel's own functions."""

import ctypes
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from gretrace.contract import LookupBudget, LookupEntry, LookupTotals, TupleFilter
from gretrace.engine import LookupsLost
from gretrace.engine.btf import BTF_DIRECTORY, module_has_function
from gretrace.engine.core import CoreProbe
from gretrace.engine.maps import BatchMap, Ring, read_element
from gretrace.engine.objects import BpfObject
from gretrace.errors import PrerequisiteError

KALLSYMS = Path("/proc/kallsyms")


class CoreLookups(CoreProbe):
    """What ip_tunnel_lookup() and ip6gre_tunnel_lookup() answered to packets of GRE."""

    stem, what = "lookup", "lookup probe"
    needs = "BTF for its modules and fexit"

    def __init__(self, tuple_filter: TupleFilter, capacity: int, budget: int) -> None:
        self._filter, self._capacity, self._budget = tuple_filter, capacity, budget
        self._watches_ipv6 = module_has_function("ip6_gre", "ip6gre_tunnel_lookup")
        super().__init__()

    def _start(self, bpf: BpfObject) -> None:
        require_function("gre", "gre_parse_header")
        require_function("ip_tunnel", "ip_tunnel_lookup")
        if not self._watches_ipv6:
            bpf.leave_out("count_lookup6")
        for table in ("kinds", "lookups"):
            bpf.set_max_entries(table, self._capacity)
        bpf.set_constants(".rodata.filter", self._filter)
        bpf.set_constants(".rodata.budget", LookupBudget(events=self._budget))
        bpf.load()
        self._lookups = BatchMap(bpf.map_fd("lookups"), ctypes.c_uint32, LookupEntry)
        self._totals = bpf.map_fd(".data.totals")
        self._ring = Ring(bpf.map_fd("decisions"))
        self._attach("count_lookup")
        if self._watches_ipv6:
            self._attach("count_lookup6")
        # Last, since without it the others see no packet: all begin at one moment.
        self._attach("note_arrival")

    @property
    def watches_ipv6(self) -> bool:
        """Whether GRE over IPv6 is watched."""
        return self._watches_ipv6

    def take(self) -> list[bytes]:
        """Return every struct lookup_event since the last call."""
        return self._ring.take() if self._ring else []

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Read every (struct lookup_key, struct lookup_stats)."""
        taken = min(self._read_totals().kinds, self._capacity)
        for _, record in islice(self._lookups.items(), taken):
            entry = LookupEntry.from_buffer_copy(record)
            if entry.stats.count:
                yield bytes(entry.key), bytes(entry.stats)

    def lost(self) -> LookupsLost:
        """Read what was lost or left out so far."""
        totals = self._read_totals()
        return LookupsLost(totals.overflow, totals.ring_full, self._missed(), totals.not_shown)

    def _read_totals(self) -> LookupTotals:
        totals = LookupTotals()
        read_element(self._totals, totals)
        return totals


def require_function(module: str, name: str) -> None:
    """Raise PrerequisiteError unless a program can be attached to a function of GRE."""
    if (BTF_DIRECTORY / module).exists() or module_has_function(module, name):
        return
    with KALLSYMS.open(encoding="ascii", errors="replace") as symbols:
        there = any(line.split()[2:3] == [name] for line in symbols)
    if there:
        raise PrerequisiteError(
            f"this kernel has no BTF for its modules ({BTF_DIRECTORY / module})",
            "boot a kernel built with CONFIG_DEBUG_INFO_BTF_MODULES=y",
        )
    raise PrerequisiteError(
        "the modules gre and ip_tunnel are not loaded, so this kernel has no GRE tunnel yet",
        "load them: modprobe ip_gre",
    )
