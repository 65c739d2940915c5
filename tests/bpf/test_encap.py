# SPDX-License-Identifier: GPL-2.0-only
"""The encapsulating program on packets of every kind: what leaves it, to the byte."""

import os
import random
import sys
from contextlib import closing, contextmanager

import pytest

from gretrace.engine.core import open_object
from gretrace.engine.maps import write_element
from gretrace.host.namespaces import entered
from gretrace.wire.packet import internet_checksum
from tests.bpf.testrun import TC_ACT_REDIRECT, TC_ACT_UNSPEC, XDP_PASS, run_program
from tests.encap import OWN, make_config, outer, routed
from tests.frames import gre, ipv4, ipv6, udp
from tests.lab.hosts import hosts, run

if os.geteuid() != 0:
    pytest.skip("loading BPF programs needs root", allow_module_level=True)

TC_ACT_OK, XDP_REDIRECT = 0, 4
LEAVE = {"tc": TC_ACT_UNSPEC, "xdp": XDP_PASS}
PASS_UP = {"tc": TC_ACT_OK, "xdp": XDP_PASS}
FORWARD = {"tc": TC_ACT_REDIRECT, "xdp": XDP_REDIRECT}
KNOWN = {4: "20.1.1.2", 6: "fd00::2"}
UNKNOWN = {4: "20.1.1.3", 6: "fd00::3"}
UNROUTED = {4: "99.9.9.9", 6: "fd99::9"}
ROUTER_MAC, PEER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
ETHERNET = bytes.fromhex("0200000000aa0200000000bb0800")
INNER = udp("30.1.1.2", "10.10.10.1", b"x" * 40, tos=0xB8)
FUZZ = 50_000


@pytest.fixture(scope="module")
def router():
    """A host that forwards to one neighbour that it knows, and to others that it does not."""
    with hosts("r") as (host,):
        # A test run's packets come in by lo; what is set for all devices counts for it too.
        host.sysctl("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        run(
            *("ip", "-n", host.name, "link", "add", "rb", "address", ROUTER_MAC),
            *("type", "veth", "peer", "name", "vb"),
        )
        host.sysctl("net.ipv6.conf.rb.disable_ipv6=0")
        host.ip("link set rb up", "link set vb up")
        for version, size in ((4, 24), (6, 64)):
            nodad = "nodad" if version == 6 else ""
            host.ip(
                f"addr add {OWN[version]}/{size} dev rb {nodad}",
                f"neigh add {KNOWN[version]} lladdr {PEER_MAC} dev rb",
            )
        with closing(open_object("encap")) as loaded:
            loaded.load()
            yield host, loaded


@pytest.fixture(params=["tc", "xdp"])
def variant(request):
    return request.param


@pytest.fixture(params=[4, 6])
def family(request):
    return request.param


@contextmanager
def encapsulating(router, variant, family, remote):
    """What runs the program on a frame, in the router's namespace."""
    host, loaded = router
    write_element(loaded.map_fd("encap_config"), make_config(family, remote))
    fd = loaded.program_fd(f"encap_{variant}")
    with entered(host.namespace):
        yield lambda frame: run_program(fd, frame)[:2]


def ethernet(family, *, forwarded):
    protocol = b"\x86\xdd" if family == 6 else b"\x08\0"
    if not forwarded:
        return ETHERNET[:12] + protocol
    return bytes.fromhex((PEER_MAC + ROUTER_MAC).replace(":", "")) + protocol


PACKETS = {
    "udp": INNER,
    "with options": ipv4("30.1.1.2", "10.10.10.1", 1, b"x" * 8, options=b"\x01" * 40),
    "a fragment": ipv4("30.1.1.2", "10.10.10.1", 17, b"x" * 8, fragment=8),
    "the last hop but one": ipv4("30.1.1.2", "10.10.10.1", 17, b"x" * 8, ttl=2),
    "a header alone": ipv4("30.1.1.2", "10.10.10.1", 17, b""),
}


@pytest.mark.parametrize("packet", PACKETS.values(), ids=PACKETS)
def test_a_known_neighbour_is_sent_to(router, variant, family, packet):
    with encapsulating(router, variant, family, KNOWN[family]) as program:
        verdict, after = program(ETHERNET + packet)
    assert verdict == FORWARD[variant]
    expected = outer(family, KNOWN[family], packet) + routed(packet)
    assert after == ethernet(family, forwarded=True) + expected


def test_for_an_unknown_neighbour_the_packet_is_passed_up(router, variant, family):
    with encapsulating(router, variant, family, UNKNOWN[family]) as program:
        verdict, after = program(ETHERNET + INNER)
    assert verdict == PASS_UP[variant]
    expected = outer(family, UNKNOWN[family], INNER) + routed(INNER)
    assert after == ethernet(family, forwarded=False) + expected


def test_the_padding_of_a_short_frame_is_no_part_of_the_packet(router, variant, family):
    short = ipv4("30.1.1.2", "10.10.10.1", 17, b"x")
    with encapsulating(router, variant, family, KNOWN[family]) as program:
        _, after = program(ETHERNET + short + bytes(25))
    expected = outer(family, KNOWN[family], short) + routed(short) + bytes(25)
    assert after == ethernet(family, forwarded=True) + expected


def test_every_carry_of_the_inner_checksum_is_kept(router, variant):
    """One hop less is 0x0100 more, which carries where the checksum is near its end."""
    near = []
    for identity in range(0x10000):
        header = bytearray(INNER[:20])
        header[4:6], header[10:12] = identity.to_bytes(2, "big"), bytes(2)
        sum_ = internet_checksum(bytes(header))
        if sum_ >= 0xFEF0:
            header[10:12] = sum_.to_bytes(2, "big")
            near.append(bytes(header) + INNER[20:])
    assert len(near) > 0x100
    with encapsulating(router, variant, 4, KNOWN[4]) as program:
        for packet in near:
            _, after = program(ETHERNET + packet)
            assert after[38:] == routed(packet), packet.hex()


def test_every_carry_of_the_outer_checksum_is_kept(router, variant):
    """The sum of the header may carry twice; here are local addresses for which it does."""
    found = 0
    with encapsulating(router, variant, 4, KNOWN[4]) as program:
        _, after = program(ETHERNET + INNER)
        header = bytearray(after[14:34])
        header[10:12] = bytes(2)
        for number in range(0x10000):
            header[14:16] = number.to_bytes(2, "big")
            total = sum(int.from_bytes(header[i : i + 2], sys.byteorder) for i in range(0, 20, 2))
            if (total & 0xFFFF) + (total >> 16) <= 0xFFFF:
                continue
            found += 1
            config = make_config(4, KNOWN[4])
            config.local[2:4] = header[14:16]
            write_element(router[1].map_fd("encap_config"), config)
            _, after = program(ETHERNET + INNER)
            assert after[26:30] == bytes(config.local[:4])
            assert internet_checksum(after[14:34]) == 0
    assert found


LEFT = {
    "one hop left": ETHERNET + ipv4("30.1.1.2", "10.10.10.1", 17, b"x" * 8, ttl=1),
    "GRE": ETHERNET + ipv4("30.1.1.2", "10.10.10.1", 47, gre(INNER)),
    "IPv6": ETHERNET[:12] + b"\x86\xdd" + ipv6("fd01::1", "fd01::2", 17, b"x" * 8),
    "ARP": ETHERNET[:12] + b"\x08\x06" + bytes(28),
    "a group": b"\x01\0\x5e\0\0\x05" + ETHERNET[6:] + ipv4("30.1.1.2", "224.0.0.5", 89, b"x" * 8),
    "longer than it is": ETHERNET + INNER[:-1],
    "shorter than its header": ETHERNET + b"\x45\0\0\x10" + INNER[4:],
    "a header of 16 bytes": ETHERNET + b"\x44" + INNER[1:],
    "too long for the link": ETHERNET + udp("30.1.1.2", "10.10.10.1", bytes(1460)),
}


@pytest.mark.parametrize("frame", LEFT.values(), ids=LEFT)
def test_what_is_not_to_be_encapsulated_is_left_as_it_is(router, variant, family, frame):
    with encapsulating(router, variant, family, KNOWN[family]) as program:
        assert program(frame) == (LEAVE[variant], frame)


def test_without_a_route_everything_is_left_as_it_is(router, variant, family):
    with encapsulating(router, variant, family, UNROUTED[family]) as program:
        assert program(ETHERNET + INNER) == (LEAVE[variant], ETHERNET + INNER)


def test_a_host_that_does_not_forward_leaves_everything_as_it_is(router, variant, family):
    host, _ = router
    setting = f"net.ipv{family}.conf.lo.forwarding"
    host.sysctl(f"{setting}=0")
    try:
        with encapsulating(router, variant, family, KNOWN[family]) as program:
            assert program(ETHERNET + INNER) == (LEAVE[variant], ETHERNET + INNER)
    finally:
        host.sysctl(f"{setting}=1")


def test_with_no_map_filled_everything_passes(router, variant):
    with encapsulating(router, variant, 0, KNOWN[4]) as program:
        assert program(ETHERNET + INNER) == (LEAVE[variant], ETHERNET + INNER)


def test_random_packets_leave_whole_or_as_they_were(router, variant, family):
    """Bytes at random, and packets with some of their bytes changed at random."""
    chance = random.Random(family)
    encapsulated = 0
    with encapsulating(router, variant, family, KNOWN[family]) as program:
        for _ in range(FUZZ):
            packet = bytearray(INNER[: chance.randrange(20, len(INNER) + 1)])
            packet[2:4] = len(packet).to_bytes(2, "big")
            for _ in range(chance.randrange(6)):
                packet[chance.randrange(len(packet))] = chance.randrange(256)
            if chance.random() < 0.2:
                packet = bytearray(chance.randbytes(chance.randrange(20, 200)))
            verdict, after = program(ETHERNET + packet)
            if verdict == LEAVE[variant]:
                assert after == ETHERNET + packet
                continue
            encapsulated += 1
            assert verdict == FORWARD[variant]
            start = 14 + (20 if family == 4 else 40) + 4
            size = int.from_bytes(packet[2:4], "big")
            assert after[14:start] == outer(family, KNOWN[family], packet)
            assert packet[0] >> 4 == 4
            assert len(packet) >= size >= (packet[0] & 0xF) * 4 >= 20
            inner = after[start:]
            assert inner[:8] + inner[9:10] + inner[12:] == packet[:8] + packet[9:10] + packet[12:]
            assert inner[8] == packet[8] - 1 > 0
            # A checksum that was wrong stays wrong, one that was right is right.
            header = (packet[0] & 0xF) * 4
            before, now = (internet_checksum(bytes(p[:header])) for p in (packet, inner))
            assert (before == 0) == (now == 0)
    assert encapsulated > FUZZ / 10
