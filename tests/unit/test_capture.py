# SPDX-License-Identifier: GPL-2.0-only
"""Captures of every format and link, whole or not."""

import os
import subprocess
import sys

import pytest

from gretrace.capture import Direction, read_capture
from gretrace.errors import GretraceError, UsageError
from tests.captures import (
    ETHERNET,
    FROM_US,
    RAW,
    SLL,
    SLL2,
    TO_OTHERS,
    Pcapng,
    ethernet,
    pcap,
    sll,
    sll2,
)
from tests.frames import gre, gre_packet, ipv6

PACKET = gre_packet("20.1.1.2", "20.1.1.1", key=2)
PACKET6 = ipv6("fd00::2", "fd00::1", 47, gre(b""))
WHEN = 1_700_000_000_123_456_789


@pytest.fixture
def read(tmp_path):
    """What a capture of these bytes holds, and the error at its end, if there is one."""

    def read(data):
        path = tmp_path / "capture"
        path.write_bytes(data)
        frames = []
        try:
            frames.extend(read_capture(str(path)))
        except GretraceError as error:
            frames.append(error)
        return frames

    return read


def sole(frames):
    (frame,) = frames
    return frame


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("nano", [False, True])
def test_pcap_in_both_byte_orders_and_resolutions(read, order, nano):
    frame = sole(read(pcap((WHEN, PACKET), order=order, nano=nano)))
    assert frame.data == PACKET
    assert frame.length == len(PACKET)
    assert frame.time_ns == (WHEN if nano else WHEN // 1000 * 1000)
    assert frame.interface is None
    assert frame.direction is None


@pytest.mark.parametrize("packet", [PACKET, PACKET6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(
    ("link", "wrap"),
    [
        (ETHERNET, ethernet),
        (ETHERNET, lambda packet: ethernet(packet, 0x8100)),
        (ETHERNET, lambda packet: ethernet(packet, 0x88A8, 0x8100)),
        (SLL, sll),
        (SLL2, sll2),
        *((raw, bytes) for raw in (12, 14, RAW, 228, 229)),
        *((loopback, lambda packet: bytes(4) + packet) for loopback in (0, 108)),
    ],
)
def test_every_link_begins_its_packets_elsewhere(read, packet, link, wrap):
    frame = sole(read(pcap((WHEN, wrap(packet)), link=link)))
    assert frame.data == packet
    assert frame.length == len(packet)


@pytest.mark.parametrize(("link", "wrap", "cut"), [(ETHERNET, ethernet, 40), (SLL, sll, 42)])
def test_a_packet_that_was_cut_off_has_its_own_length(read, link, wrap, cut):
    whole = wrap(PACKET)
    frame = sole(read(pcap((WHEN, whole[:cut], len(whole)), link=link)))
    assert frame.data == PACKET[:26]
    assert frame.length == len(PACKET)


@pytest.mark.parametrize(("link", "wrap"), [(SLL, sll), (SLL2, sll2)])
@pytest.mark.parametrize(
    ("kind", "direction"),
    [(0, Direction.IN), (2, Direction.IN), (TO_OTHERS, Direction.PAST), (FROM_US, Direction.OUT)],
)
def test_a_cooked_capture_tells_the_direction(read, link, wrap, kind, direction):
    assert sole(read(pcap((WHEN, wrap(PACKET, kind)), link=link))).direction is direction


def test_what_is_no_ip_counts_as_a_packet(read):
    arp = b"\xff" * 12 + b"\x08\x06" + bytes(28)
    frame = sole(read(pcap((WHEN, arp), link=ETHERNET)))
    assert frame.data == b""


def test_a_frame_check_sequence_in_the_header_changes_nothing(read):
    assert sole(read(pcap((WHEN, PACKET), link=RAW | 0x24 << 24))).data == PACKET


@pytest.mark.parametrize("order", "<>")
def test_pcapng_with_several_interfaces(read, order):
    byte_order = "big" if order == ">" else "little"
    capture = Pcapng(order)
    capture.interface(name=b"eth0").interface(RAW, name=b"gre1\0", resolution=b"\x09")
    capture.interface(RAW, resolution=b"\x8a", offset=(5).to_bytes(8, byte_order))
    capture.packet(WHEN // 1000, ethernet(PACKET), comment="Größe".encode())
    capture.packet(WHEN, PACKET, interface=1, flags=b"\0\0\0\2" if order == ">" else b"\2\0\0\0")
    capture.packet(1024 + 512, PACKET, interface=2)
    first, second, third = read(capture.data)
    assert (first.interface, second.interface, third.interface) == ("eth0", "gre1", None)
    assert (first.data, second.data, third.data) == (PACKET, PACKET, PACKET)
    assert first.time_ns == WHEN // 1000 * 1000
    assert second.time_ns == WHEN
    assert third.time_ns == 6_500_000_000
    assert (first.direction, second.direction) == (None, Direction.OUT)


def test_pcapng_cut_off_simple_and_unknown_blocks(read):
    capture = Pcapng().interface()
    capture.data += capture.block(5, bytes(12))  # statistics
    capture.packet(1, ethernet(PACKET)[:40], length=len(ethernet(PACKET)))
    capture.simple_packet(ethernet(PACKET))
    cut, simple = read(capture.data)
    assert (cut.data, cut.length) == (PACKET[:26], len(PACKET))
    assert simple.data == PACKET


def test_pcapng_begins_anew_with_each_section(read):
    first = Pcapng("<").interface(name=b"one").packet(1, ethernet(PACKET))
    second = Pcapng(">").interface(RAW, name=b"two").packet(2, PACKET)
    frames = read(first.data + second.data)
    assert [frame.interface for frame in frames] == ["one", "two"]
    assert [frame.data for frame in frames] == [PACKET, PACKET]


def test_a_time_beyond_all_calendars_is_the_last_there_is(read):
    capture = Pcapng().interface(RAW, resolution=b"\0").packet(2**64 - 1, PACKET)
    assert sole(read(capture.data)).time_ns == 2**64 - 1


@pytest.mark.parametrize(
    ("data", "before", "words"),
    [
        (b"", 0, "is empty; give a file in the format pcap or pcapng"),
        (b"\x1f\x8b\x08\0 compressed", 0, "is no capture; give a file"),
        (b"hi", 0, "is no capture"),
        (pcap()[:20], 0, "ends in the middle of a record"),
        (pcap((1, PACKET), (2, PACKET))[:-1], 1, "ends in the middle of a record, after 1 packets"),
        (pcap((1, PACKET)) + bytes(7), 1, "ends in the middle of a record"),
        (pcap((1, PACKET)) + bytes(8) + b"\xff" * 8, 1, "is damaged, after 1 packets"),
        (pcap((1, PACKET), link=105), 0, "packets of a link of type 105, which cannot be read"),
        (Pcapng().data[:9], 0, "ends in the middle of a record"),
        (Pcapng().data[:8] + bytes(20), 0, "is damaged"),
        (Pcapng().data + bytes(8), 0, "is damaged"),
        (Pcapng().data + b"\x06\0\0", 0, "ends in the middle of a record"),
        (Pcapng().interface(RAW).packet(1, PACKET).data[:-4], 0, "ends in the middle"),
        (Pcapng().packet(1, PACKET).data, 0, "has damaged blocks"),
        (Pcapng().interface(RAW, resolution=b"").packet(1, PACKET).data, 1, None),
    ],
)  # fmt: skip
def test_what_can_be_read_comes_before_the_error(read, data, before, words):
    *frames, last = read(data)
    if words is None:
        frames, last = [*frames, last], None
    assert len(frames) == before
    assert words is None or words in str(last)
    assert words is None or last.exit_code == 1


def test_a_damaged_block_costs_only_itself(read):
    capture = Pcapng().interface(RAW).packet(1, PACKET)
    damaged = bytearray(capture.data)
    damaged += capture.block(6, b"\0" * 12 + b"\xff" * 8 + PACKET)
    more = Pcapng().interface(RAW).packet(2, PACKET)
    one, two, error = read(bytes(damaged) + more.data)
    assert one.data == two.data == PACKET
    assert "has damaged blocks" in str(error)


def test_a_link_that_is_unknown_costs_only_its_own_packets(read):
    capture = Pcapng().interface(105).interface(RAW)
    capture.packet(1, b"wireless").packet(2, PACKET, interface=1)
    frame, error = read(capture.data)
    assert frame.data == PACKET
    assert "a link of type 105" in str(error)


def test_a_file_that_cannot_be_opened_is_a_usage_error(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match=f"cannot read {path}"):
            list(read_capture(str(path)))


def test_standard_input(tmp_path):
    path = tmp_path / "capture"
    path.write_bytes(pcap((1, PACKET)))
    kept = os.dup(0)
    with path.open("rb") as file:
        os.dup2(file.fileno(), 0)
    try:
        assert sole(list(read_capture("-"))).data == PACKET
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_only_a_capture_costs_the_import_of_its_library():
    code = "import gretrace.cli.outcome, sys; sys.exit('dpkt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
