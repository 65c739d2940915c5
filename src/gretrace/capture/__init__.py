# SPDX-License-Identifier: GPL-2.0-only
"""Packets out of captures: pcap and pcapng, of every link that GRE is commonly captured on.

dpkt knows the records of both formats. Its readers are not used: they tell neither how long
a packet was that was cut off, nor on which interface it was seen.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from errno import EBADF
from pathlib import Path
from typing import BinaryIO

from gretrace.capture.links import Direction, Frame
from gretrace.capture.source import Source
from gretrace.errors import GretraceError, UsageError

__all__ = ["STDIN", "Direction", "Frame", "read_capture"]

STDIN = "-"


def read_capture(source: str) -> Iterator[Frame]:
    """Yield the packets of a capture, of standard input if `source` is "-".

    Raises UsageError when it cannot be opened. Raises GretraceError, after all that could be
    read, when the rest could not.
    """
    name = "standard input" if source == STDIN else source
    with _open(source, name) as file:
        capture = Source(file, name)
        for frame in _read(capture):
            capture.packets += 1
            yield frame
        if capture.complaint:
            raise capture.complaint


def _open(source: str, name: str) -> AbstractContextManager[BinaryIO]:
    try:
        if source != STDIN:
            return Path(source).open("rb")
        # Where it is closed, its number is by now that of another file.
        if sys.stdin is None:
            raise OSError(EBADF, os.strerror(EBADF))
        return open(0, "rb", closefd=False)
    except OSError as error:
        raise UsageError(
            f"cannot read {name} ({error.strerror})", "give a file that `tcpdump -w` wrote"
        ) from None


def _read(capture: Source) -> Iterator[Frame]:
    # Whoever reads no capture does not pay for dpkt, which takes long to import.
    from dpkt import pcap

    from gretrace.capture.pcap import read_pcap
    from gretrace.capture.pcapng import SECTION, read_pcapng

    magic = capture.take(4)
    if magic == SECTION:
        return read_pcapng(capture)
    if int.from_bytes(magic, "big") in pcap.MAGIC_TO_PKT_HDR:
        return read_pcap(capture, magic)
    raise GretraceError(
        f"{capture.name} is {'no capture' if magic else 'empty'}",
        "give a file in the format pcap or pcapng, as `tcpdump -w` writes it",
    )
