# SPDX-License-Identifier: GPL-2.0-only
"""The format pcap (draft-ietf-opsawg-pcap), with microseconds or nanoseconds."""

from collections.abc import Iterator

from dpkt import pcap

from gretrace.capture.links import LINKS, MICROSECONDS, Frame, Interface
from gretrace.capture.source import Source


def read_pcap(capture: Source, start: bytes) -> Iterator[Frame]:
    """Yield the packets of a capture that began with the bytes `start`."""
    magic = int.from_bytes(start, "big")
    is_little = magic in (pcap.PMUDPCT_MAGIC, pcap.PMUDPCT_MAGIC_NANO, pcap.PACPDOM_MAGIC)
    is_nano = magic in (pcap.TCPDUMP_MAGIC_NANO, pcap.PMUDPCT_MAGIC_NANO)
    file_type = pcap.LEFileHdr if is_little else pcap.FileHdr
    record_type = pcap.MAGIC_TO_PKT_HDR[magic]
    header = file_type(start + capture.need(file_type.__hdr_len__ - len(start)))
    # The upper bits tell of a frame check sequence.
    link_type, resolution = header.linktype & 0xFFFF, 10**9 if is_nano else MICROSECONDS
    interface = Interface(link_type, resolution=resolution)
    if link_type not in LINKS:
        capture.refuse_link(link_type)
        return
    while start := capture.take(record_type.__hdr_len__):
        if len(start) < record_type.__hdr_len__:
            capture.fail("ends in the middle of a record")
        record = record_type(start)
        data = capture.need(record.caplen)
        yield interface.frame(record.tv_sec * resolution + record.tv_usec, data, record.len)
