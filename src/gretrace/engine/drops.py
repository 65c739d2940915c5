"""The kernel's running count of drops, whichever engine loaded the program."""

from collections.abc import Iterator

from gretrace.engine import Lost
from gretrace.engine.contract import DropKey, DropStats, DropTotals
from gretrace.engine.maps import TableReader, read_element
from gretrace.engine.probes import LoadedProbe
from gretrace.engine.symbols import Symbols


class Drops:
    """A DropTable."""

    def __init__(self, probe: LoadedProbe) -> None:
        self._probe = probe
        self._symbols = Symbols()
        try:
            self._drops = TableReader(probe.map_fd("drops"), DropKey, DropStats)
            self._totals = probe.map_fd("totals")
            self._bell = probe.open_ring("bell", 4096)
            probe.attach()
        except BaseException:
            probe.close()
            raise

    def fileno(self) -> int:
        """Return a descriptor that is readable once a new kind of drop was counted."""
        return self._bell.fileno()

    def drain(self) -> None:
        """Make the descriptor unreadable again."""
        self._bell.take()

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Read every (struct drop_key, struct drop_stats)."""
        return self._symbols.named(self._drops.items())

    def lost(self) -> Lost:
        """Read what was lost so far."""
        totals = DropTotals()
        read_element(self._totals, totals)
        return Lost(totals.overflow, self._probe.missed(), self._symbols.hidden)

    def close(self) -> None:
        """Detach and free everything; a second time it does nothing."""
        self._probe.close()
