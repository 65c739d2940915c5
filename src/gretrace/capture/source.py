# SPDX-License-Identifier: GPL-2.0-only
"""An open capture that says in words where it cannot be read."""

from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from gretrace.errors import GretraceError

# What a record may claim to hold, in bytes; libpcap draws the same line (BT_SHB_INSANE_MAX).
LONGEST = 16 << 20


@dataclass(slots=True)
class Source:
    """An open capture, and what errors call it."""

    file: BinaryIO
    name: str
    packets: int = 0  # that were read
    complaint: GretraceError | None = None  # of what was left out so far

    def take(self, size: int) -> bytes:
        """Read `size` bytes, or fewer at the end."""
        try:
            return self.file.read(size)
        except OSError as error:
            raise GretraceError(
                f"cannot read on in {self.name} ({error.strerror})",
                f"only the {self.packets} packets before it were judged",
            ) from None

    def need(self, size: int) -> bytes:
        """Read `size` bytes, which have to be there."""
        if size > LONGEST:
            self.fail("is damaged")
        data = self.take(size)
        return data if len(data) == size else self.fail("ends in the middle of a record")

    def fail(self, what: str) -> NoReturn:
        """Give up."""
        raise self._complaint(f"{what}, after {self.packets} packets")

    def complain(self, what: str) -> None:
        """Keep what is wrong until the end, and go on."""
        self.complaint = self.complaint or self._complaint(what)

    def refuse_link(self, link_type: int) -> None:
        """Leave out the packets of a link that nothing is known of."""
        self.complaint = self.complaint or GretraceError(
            f"{self.name} has packets of a link of type {link_type}, which cannot be read",
            "capture where the GRE packets come in, or with `tcpdump -i any`",
        )

    def _complaint(self, what: str) -> GretraceError:
        return GretraceError(
            f"{self.name} {what}", "what could be read was judged; capture anew to have the rest"
        )
