# SPDX-License-Identifier: GPL-2.0-only
"""What ip_tunnel_lookup() and ip6gre_tunnel_lookup() answered, whichever engine watches them."""

from collections.abc import Iterator

from gretrace.engine import LookupsLost
from gretrace.engine.contract import LookupKey, LookupStats, LookupTotals
from gretrace.engine.maps import TableReader, read_element
from gretrace.engine.probes import LoadedProbe


class Lookups:
    """A LookupTable."""

    def __init__(self, probe: LoadedProbe) -> None:
        self._probe = probe
        try:
            self._lookups = TableReader(probe.map_fd("lookups"), LookupKey, LookupStats)
            self._totals = probe.map_fd("totals")
            self._decisions = probe.open_ring("decisions", 1 << 18)
            probe.attach()
        except BaseException:
            probe.close()
            raise

    @property
    def watches_ipv6(self) -> bool:
        """Whether GRE over IPv6 is watched."""
        return self._probe.has("count_lookup6")

    def fileno(self) -> int:
        """Return a descriptor that is readable when there are events."""
        return self._decisions.fileno()

    def take(self) -> list[bytes]:
        """Return every struct lookup_event since the last call."""
        return self._decisions.take()

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Read every (struct lookup_key, struct lookup_stats)."""
        return self._lookups.items()

    def lost(self) -> LookupsLost:
        """Read what was lost or left out so far."""
        totals = LookupTotals()
        read_element(self._totals, totals)
        ring_full = totals.ring_full + self._decisions.lost
        return LookupsLost(totals.overflow, ring_full, self._probe.missed(), totals.not_shown)

    def close(self) -> None:
        """Detach and free everything; a second time it does nothing."""
        self._probe.close()
