# SPDX-License-Identifier: GPL-2.0-only
from ipaddress import ip_address

import pytest

from gretrace.model import Inner
from gretrace.wire.packet import parse_gre, parse_packet
from tests.frames import gre, gre_packet, ipv4, ipv6, udp

A, B = "20.1.1.2", "20.1.1.1"


def test_every_field_of_a_gre_packet():
    packet = parse_packet(gre_packet(A, B, key=0, sequence=7, checksum=True))
    assert (str(packet.remote), str(packet.local), packet.protocol) == (A, B, 47)
    assert (packet.gre.key, packet.gre.sequence, packet.gre.protocol) == (0, 7, 0x0800)
    assert packet.gre.has_checksum
    assert packet.gre.checksum_valid
    assert packet.gre.complete
    assert packet.inner == Inner(ip_address("10.10.10.2"), ip_address("10.10.10.1"), 17)
    assert packet.gre_length == packet.length - 20


def test_no_key_is_not_key_0():
    assert parse_packet(gre_packet(A, B)).gre.key is None
    assert parse_packet(gre_packet(A, B, key=0)).gre.key == 0


def test_a_wrong_checksum_is_seen_and_an_unfinished_one_is_not_judged():
    packet = bytearray(gre_packet(A, B, checksum=True))
    packet[-1] ^= 1
    assert parse_packet(bytes(packet)).gre.checksum_valid is False
    assert parse_packet(bytes(packet), length=2000).gre.checksum_valid is None
    assert parse_packet(gre_packet(A, B)).gre.checksum_valid is None


def test_padding_behind_the_packet_is_no_part_of_it():
    packet = parse_packet(gre_packet(A, B, b"", checksum=True, protocol=0) + bytes(18))
    assert (packet.length, packet.gre_length) == (28, 8)
    assert packet.gre.checksum_valid


def test_ip_options_are_stepped_over():
    packet = parse_packet(ipv4(A, B, 47, gre(udp("1.1.1.1", "2.2.2.2"), key=3), options=bytes(40)))
    assert packet.gre.key == 3


def test_a_later_fragment_has_no_gre_header():
    packet = parse_packet(ipv4(A, B, 47, gre(b"", key=3), fragment=0x0010))
    assert packet.is_fragment
    assert packet.gre is None


def test_a_first_fragment_has_one():
    assert parse_packet(ipv4(A, B, 47, gre(b"", key=3), fragment=0x2000)).gre.key == 3


def test_ipv6_with_and_without_the_encapsulation_limit():
    header = gre(udp("1.1.1.1", "2.2.2.2"), key=9)
    assert parse_packet(ipv6("fd00::2", "fd00::1", 47, header)).gre.key == 9
    limit = bytes([47, 0, 4, 1, 4, 1, 1, 0])
    packet = parse_packet(ipv6("fd00::2", "fd00::1", 60, limit + header))
    assert (packet.protocol, packet.gre.key, packet.family) == (47, 9, 6)


def test_an_ethernet_payload_is_looked_into():
    frame = bytes(12) + b"\x08\x00" + udp("1.1.1.1", "2.2.2.2")
    assert parse_packet(gre_packet(A, B, frame, protocol=0x6558)).inner.protocol == 17


def test_wccp_versions_1_and_2():
    inner = udp("1.1.1.1", "2.2.2.2")
    assert parse_packet(gre_packet(A, B, inner, protocol=0x883E)).inner.protocol == 17
    assert parse_packet(gre_packet(A, B, bytes(4) + inner, protocol=0x883E)).inner.protocol == 17


def test_every_truncation_is_survived():
    whole = gre_packet(A, B, key=1, sequence=2, checksum=True)
    for size in range(len(whole)):
        packet = parse_packet(whole[:size], length=len(whole))
        assert (packet is None) == (size < 20)
        if size >= 36:
            assert packet.gre.complete


def test_a_routing_header_makes_room_for_its_offset():
    header, size = parse_gre((0x6000).to_bytes(2, "big") + b"\x08\x00" + bytes(4) + b"\0\0\0\x05")
    assert (header.key, size) == (5, 12)


def test_what_is_no_ip_is_none():
    assert parse_packet(b"") is None
    assert parse_packet(bytes(60)) is None
    assert parse_packet(b"\x44" + bytes(59)) is None  # a header of 16 bytes


@pytest.mark.parametrize("build", [ipv4, ipv6], ids=["IPv4", "IPv6"])
def test_addresses_are_as_any_other(build):
    ends = ("20.1.1.2", "20.1.1.1") if build is ipv4 else ("fd00::2", "fd00::1")
    packet = parse_packet(build(*ends, 17, bytes(8)))
    assert (packet.remote, packet.local) == tuple(map(ip_address, ends))
    assert hash(packet.remote) == hash(ip_address(ends[0]))
    assert [f"{packet.remote}", str(packet.remote), f"{packet.local:s}"] == [ends[0], *ends]


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        (bytes([4, 1, 0, 1, 1, 0]), 0),
        (bytes([0, 0, 0, 4, 1, 7]), 7),
        (bytes([1, 1, 0, 4, 1, 3]), 3),
        (bytes([1, 4, 4, 1, 0, 0]), None),
        (bytes([0, 0, 0, 0, 4, 1]), None),
        (bytes([4, 2, 0, 0, 0, 0]), None),
        (bytes([0, 0, 0, 0, 0, 4]), None),
    ],
)
def test_the_encapsulation_limit_is_read(options, limit):
    packet = parse_packet(ipv6("fd01::1", "fd01::2", 60, bytes([47, 0]) + options + gre(b"x")))
    assert packet.encap_limit == limit
    assert packet.gre
