# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel has of a packet once a tunnel took its own headers off, by the bytes."""

from dataclasses import replace

import pytest

from gretrace.kernel.lookup import Tables
from gretrace.kernel.passage import Carried, Passage
from gretrace.model import ETH_P_ERSPAN, ETH_P_ERSPAN2, ETH_P_IP, ETH_P_IPV6, ETH_P_TEB, ETH_P_WCCP
from gretrace.wire.packet import parse_packet
from tests.frames import gre, gre_packet, ipv4, ipv6, udp
from tests.unit.cases import A, B, tunnel

A6, B6 = "fd00::2", "fd00::1"
INNER = udp("10.10.10.2", "10.10.10.1", tos=0x2A)
INNER6 = bytes([0x62, 0xA5]) + ipv6("fd10::2", "fd10::1", 17, bytes(8))[2:]
ETHERNET = bytes(range(12)) + b"\x08\x00"
PLAIN, TAP = tunnel(), tunnel(kind="gretap")
SPAN = tunnel(kind="erspan", local=None, remote=None)
PLAIN6 = tunnel(kind="ip6gre", local=B6, remote=A6)


def passage(packet, ours, **more):
    return Passage(parse_packet(packet), Tables([ours]), **more)


def six(payload, **header):
    return ipv6(A6, B6, 47, gre(payload, **header))


def session(version):
    return bytes([version << 4, 0, 0, 5])


@pytest.mark.parametrize(
    ("packet", "ours", "protocol", "length", "tos"),
    [
        (gre_packet(A, B, INNER), PLAIN, ETH_P_IP, len(INNER), 0x2A),
        (gre_packet(A, B, INNER, key=1, sequence=2, checksum=True), tunnel(key=1), ETH_P_IP,
         len(INNER), 0x2A),
        (gre_packet(A, B, INNER6, protocol=ETH_P_IPV6), PLAIN, ETH_P_IPV6, len(INNER6), 0x2A),
        (gre_packet(A, B, ETHERNET + INNER, protocol=ETH_P_TEB), TAP, ETH_P_IP, len(INNER), 0x2A),
        (gre_packet(A, B, ETHERNET, protocol=ETH_P_TEB), TAP, ETH_P_IP, 0, None),
        (gre_packet(A, B, ETHERNET[:13], protocol=ETH_P_TEB), TAP, None, -1, None),
        (gre_packet(A, B, INNER[:1]), PLAIN, ETH_P_IP, 1, None),
        (gre_packet(A, B, INNER[:2]), PLAIN, ETH_P_IP, 2, 0x2A),
        # WCCP: version 1 has no header of its own, version 2 has four bytes.
        (gre_packet(A, B, INNER, protocol=ETH_P_WCCP), PLAIN, ETH_P_IP, len(INNER), 0x2A),
        (gre_packet(A, B, b"\x00abc" + INNER, protocol=ETH_P_WCCP), PLAIN, ETH_P_IP, len(INNER),
         0x2A),
        (six(INNER6, protocol=ETH_P_WCCP), PLAIN6, ETH_P_IPV6, len(INNER6) - 4, 0),
        (six(INNER6, protocol=ETH_P_IPV6), PLAIN6, ETH_P_IPV6, len(INNER6), 0x2A),
        # ERSPAN: type I has no header, II has 8 bytes, III and what may come have 12.
        (gre_packet(A, B, ETHERNET + INNER, protocol=ETH_P_ERSPAN), SPAN, ETH_P_IP, len(INNER),
         0x2A),
        *(
            (gre_packet(A, B, session(version) + bytes(size - 4) + ETHERNET + INNER,
                        protocol=protocol, sequence=1),
             replace(SPAN, ikey=5, okey=5), ETH_P_IP, len(INNER), 0x2A)
            for version, size, protocol in (
                (1, 8, ETH_P_ERSPAN), (2, 12, ETH_P_ERSPAN2), (3, 12, ETH_P_ERSPAN2),
            )
        ),
    ],
)  # fmt: skip
def test_what_is_carried(packet, ours, protocol, length, tos):
    carried = passage(packet, ours).carried
    assert (carried.protocol, carried.length, carried.tos) == (protocol, length, tos)
    assert len(carried.data) == max(length, 0)


def test_over_ipv6_erspan_without_a_session_has_its_header_all_the_same():
    seen = passage(six(bytes(4), protocol=ETH_P_ERSPAN), PLAIN6)
    assert not seen.has_session
    assert (seen.has_erspan_header, seen.own_header_size) == (True, 0)
    over_ipv4 = passage(gre_packet(A, B, bytes(4), protocol=ETH_P_ERSPAN), SPAN)
    assert (over_ipv4.has_erspan_header, over_ipv4.own_header_size) == (False, 0)


@pytest.mark.parametrize("protocol", [ETH_P_WCCP, ETH_P_ERSPAN2])
def test_of_an_own_header_that_was_not_kept_nothing_is_known(protocol):
    packet = gre_packet(A, B, b"", protocol=protocol)
    seen = passage(packet, PLAIN)
    assert (seen.own_header_size, seen.carried) == (None, None)


def test_what_an_own_device_has_is_what_it_carries():
    inside = Passage(parse_packet(INNER), None, device=PLAIN6)
    assert inside.carried == Carried(ETH_P_IP, len(INNER), tos=0x2A)
    assert (inside.outer, inside.gre, inside.length, inside.family) == (None, None, 0, 6)
    assert (inside.tunnel, inside.query) == (PLAIN6, None)
    inside = Passage(parse_packet(INNER6), None, device=PLAIN6)
    assert inside.carried == Carried(ETH_P_IPV6, len(INNER6), tos=0x2A)
    assert Passage(None, None, device=PLAIN6, protocol=0x8847).carried == Carried(0x8847, 0)


def test_of_nothing_nothing_is_known():
    nothing = Passage(None, Tables([PLAIN]))
    known = (nothing.family, nothing.gre, nothing.query, nothing.tunnel, nothing.carried)
    assert known == (None,) * 5
    assert (nothing.length, nothing.own_header_size, nothing.is_wccp) == (0, 0, False)


def test_no_tunnel_is_looked_up_by_half_a_session():
    for kept, is_known in ((3, False), (4, True)):
        packet = gre_packet(A, B, session(1)[:kept], protocol=ETH_P_ERSPAN, sequence=1)
        assert (passage(packet, SPAN).query is not None) == is_known


def test_only_without_any_flag_it_is_wccp():
    assert passage(gre_packet(A, B, INNER, protocol=ETH_P_WCCP), PLAIN).is_wccp
    assert not passage(gre_packet(A, B, INNER, protocol=ETH_P_WCCP, key=1), PLAIN).is_wccp
    assert not passage(ipv4(A, B, 47, gre(INNER)), PLAIN).is_wccp
