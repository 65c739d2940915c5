# SPDX-License-Identifier: GPL-2.0-only
import ctypes
from ipaddress import IPv4Address, ip_address

import pytest

from gretrace.engine.contract import (
    DropKey,
    DropMark,
    DropStats,
    GreTuple,
    LookupEvent,
    LookupKey,
    LookupMark,
    LookupStats,
)
from gretrace.engine.decode import decode_decision, decode_drop, decode_lookup_entry, parse_place
from gretrace.model import Label, Place
from tests.frames import gre, gre_packet, ipv4

A, B = "20.1.1.2", "20.1.1.1"
REASONS = {2: "NOT_SPECIFIED"}


# To the port that FOU listens on.
UDP_HEADER = (4321).to_bytes(2, "big") + (5555).to_bytes(2, "big") + bytes(4)


def records(packet=None, *, marks=0, reason=2, place=b"gre_rcv+0x12d/0x560 [ip_gre]"):
    sample = packet or gre_packet(A, B, key=2)
    seen = GreTuple(netns=5, ifindex=7, marks=marks)
    key = DropKey(location=0xFFFF800000001234, reason=reason, tuple=seen)
    stats = DropStats(
        count=3, first_ns=10, last_ns=20, length=len(sample), sample_length=len(sample)
    )
    ctypes.memmove(stats.sample, sample, len(sample))
    return bytes(key), bytes(stats), place


def test_a_record_becomes_a_drop():
    drop = decode_drop(*records(marks=DropMark.ON_TUNNEL), REASONS, 1000)
    assert drop.place == Place("gre_rcv", "ip_gre")
    assert drop.reason == "NOT_SPECIFIED"
    assert (drop.netns, drop.ifindex, drop.count) == (5, 7, 3)
    assert (drop.first_ns, drop.last_ns) == (1010, 1020)
    assert drop.on_tunnel
    assert drop.packet.gre.key == 2


def test_every_field_lies_where_the_contract_has_it():
    # No byte is like another, so that a field read from beside its place would be seen.
    key = DropKey.from_buffer_copy(bytes(range(1, ctypes.sizeof(DropKey) + 1)))
    key.tuple.marks = DropMark.PULLED | DropMark.ROUTED
    sample, place = gre_packet(A, B, key=2), b"ip_forward+0x1/0x2"
    stats = DropStats(count=1 << 40, first_ns=2 << 40, last_ns=3 << 40)
    stats.length, stats.sample_length = 1400, len(sample)
    ctypes.memmove(stats.sample, sample.ljust(len(stats.sample), b"\xff"), len(stats.sample))
    drop = decode_drop(bytes(key), bytes(stats), place, {key.reason: "NAMED"}, 5)
    assert (drop.reason, drop.netns, drop.ifindex) == (
        "NAMED", key.tuple.netns, key.tuple.ifindex,
    )  # fmt: skip
    assert (drop.on_tunnel, drop.is_pulled, drop.is_routed, drop.is_sent) == (
        False, True, True, False,
    )  # fmt: skip
    assert (drop.count, drop.first_ns, drop.last_ns) == (1 << 40, (2 << 40) + 5, (3 << 40) + 5)
    assert (drop.place, drop.packet.length) == (Place("ip_forward"), 1400)
    assert drop.packet.gre.key == 2
    stats.sample_length = 0
    drop = decode_drop(bytes(key), bytes(stats), b"", {}, 0)
    assert (drop.protocol, drop.place.function) == (key.tuple.gre_protocol, f"{key.location:#x}")


# Those that only keep kinds apart.
APART = (DropMark.CE, DropMark.ALIKE, DropMark.ODD)


@pytest.mark.parametrize("mark", [m for m in DropMark if m not in APART])
def test_every_mark_is_read(mark):
    place = b"nf_hook_slow+0x1/0x2"
    damaged = bytearray(gre_packet(A, B, checksum=True))
    damaged[24] ^= 1
    summed, inside = (
        decode_drop(*records(packet, marks=mark, place=place), REASONS, 0).packet
        for packet in (bytes(damaged), ipv4(A, B, 17, UDP_HEADER + gre(b"x" * 20, key=3)))
    )
    drop = decode_drop(*records(marks=mark, place=place), REASONS, 0)
    read = {
        DropMark.ON_TUNNEL: drop.on_tunnel,
        DropMark.PULLED: drop.is_pulled,
        DropMark.ROUTED: drop.is_routed,
        DropMark.SENT: drop.is_sent,
        DropMark.UNSUMMED: summed.gre.checksum_valid,
        DropMark.IN_UDP: bool(inside.gre and inside.gre.key == 3 and inside.udp_port == 5555),
        DropMark.BRIDGED: drop.below is not None,
    }
    assert {seen for seen, is_set in read.items() if is_set} == {mark}


def test_a_reason_without_a_name_is_a_number():
    assert decode_drop(*records(reason=0x20001), REASONS, 0).reason == "reason 0x20001"


def test_a_kernel_without_reasons_has_none():
    assert decode_drop(*records(), {}, 0).reason is None


@pytest.mark.parametrize(
    ("place", "is_sent"),
    [
        (b"ip_tunnel_rcv+0x1/0x2 [ip_tunnel]", False),
        (b"gre_rcv+0x227/0x560 [ip6_gre]", False),
        (b"__ip6_tnl_rcv.isra.0+0x1/0x2 [ip6_tunnel]", False),
        (b"ip_tunnel_xmit+0x1/0x2 [ip_tunnel]", True),
    ],
)
def test_where_tunnels_receive_nothing_is_sent(place, is_sent):
    """The mark comes from a field that the kernel wipes when it takes off the outer header."""
    assert decode_drop(*records(marks=DropMark.SENT, place=place), REASONS, 0).is_sent == is_sent


def test_places_are_read_as_the_kernel_writes_them():
    for text, place in [
        (b"gre_rcv+0x41/0xb0 [gre]\0junk", Place("gre_rcv", "gre")),
        (b"ip_rcv_finish_core.isra.0+0x234/0x430", Place("ip_rcv_finish_core")),
        (b"__netif_receive_skb_core.constprop.0+0x144/0x1080", Place("__netif_receive_skb_core")),
        (b"ip_tunnel_rcv.cold+0x1/0x2 [ip_tunnel]", Place("ip_tunnel_rcv", "ip_tunnel")),
        (b"", Place("0xffff")),
        (b"0xffffffffc0001234", Place("0xffff")),
        (b"\xff\xfe", Place("0xffff")),
    ]:
        assert parse_place(text, 0xFFFF) == place


def lookup_key(*, remote=A, local=B, tunnel=9, **more):
    seen = GreTuple(netns=5, ifindex=7, gre_protocol=0x0800, protocol=47, **more)
    seen.family = ip_address(remote).version
    for array, address in ((seen.remote, remote), (seen.local, local)):
        packed = ip_address(address).packed
        array[: len(packed)] = packed
    return LookupKey(tuple=seen, tunnel=tunnel, tunnel_netns=6 if tunnel else 0)


def event(key, name=b"gre1"):
    return bytes(LookupEvent(time_ns=10, key=key, tunnel_name=name))


def test_an_event_becomes_a_decision():
    seen = decode_decision(event(lookup_key(gre_flags=0xB000, gre_key=8)), 1000)
    assert (seen.time_ns, seen.first_ns, seen.count) == (1010, 1010, 1)
    assert (seen.netns, seen.ifindex, seen.family) == (5, 7, 4)
    assert (str(seen.remote), str(seen.local)) == (A, B)
    assert (seen.key, seen.flags, seen.protocol) == (8, ("csum", "key", "seq"), 0x0800)
    assert (seen.tunnel_ifindex, seen.tunnel_name, seen.tunnel_netns) == (9, "gre1", 6)


def test_an_entry_becomes_a_decision_with_a_count():
    stats = LookupStats(count=3, first_ns=10, last_ns=20, tunnel_name=b"gre1")
    seen = decode_lookup_entry(bytes(lookup_key()), bytes(stats), 1000)
    assert (seen.count, seen.first_ns, seen.time_ns) == (3, 1010, 1020)
    assert seen.tunnel_name == "gre1"


def test_no_tunnel_has_no_name():
    seen = decode_decision(event(lookup_key(tunnel=0), b""), 0)
    assert (seen.tunnel_ifindex, seen.tunnel_name, seen.tunnel_netns) == (None, None, None)


@pytest.mark.parametrize(
    ("flags", "marks", "key"),
    [(0, 0, None), (0x2000, 0, 0), (0x1000, 0, None), (0x1000, LookupMark.SESSION_KEY, 0)],
)
def test_key_0_is_not_the_lack_of_a_key(flags, marks, key):
    assert decode_decision(event(lookup_key(gre_flags=flags, marks=marks)), 0).key == key


def test_ipv6_addresses_are_whole():
    seen = decode_decision(event(lookup_key(remote="fd00::2", local="fd00::1")), 0)
    assert (seen.family, str(seen.remote), str(seen.local)) == (6, "fd00::2", "fd00::1")


def test_a_tunnel_that_was_renamed_has_its_new_name():
    key = lookup_key()
    names = [decode_decision(event(key, name), 0).tunnel_name for name in (b"gre1", b"gre2")]
    assert names == ["gre1", "gre2"]


def test_bytes_that_are_missing_are_zeros():
    nothing = decode_decision(b"", 0)
    assert (nothing.netns, nothing.key, nothing.tunnel_ifindex) == (0, None, None)
    assert nothing.remote == IPv4Address(0)
    whole = event(lookup_key(gre_flags=0x2000, gre_key=8))
    assert decode_decision(whole[:40], 0).netns == 5
    assert decode_decision(whole + b"more", 0) == decode_decision(whole, 0)
    assert decode_lookup_entry(b"", b"", 0).count == 0


def labelled(sample, entry, protocol=0x8847):
    key, stats, place = records(sample, marks=DropMark.ON_TUNNEL, place=b"mpls_forward+0x1/0x2")
    key = DropKey.from_buffer_copy(key)
    key.tuple.gre_protocol, key.tuple.gre_key = protocol, entry
    return decode_drop(bytes(key), stats, place, REASONS, 0)


@pytest.mark.parametrize("protocol", [0x8847, 0x8848])
@pytest.mark.parametrize(
    ("value", "is_last"), [(100, True), (100, False), (0, True), (0x45000, True), (0xFFFFF, False)]
)
def test_a_label_is_read(value, is_last, protocol):
    entry = value << 12 | is_last << 8
    # With a time to live, and what could be taken for the rest of an IP header.
    sample = (entry | 64).to_bytes(4, "big") + bytes(16)
    drop = labelled(sample, entry, protocol)
    assert drop.label == Label(value, is_last)
    assert (drop.packet, drop.protocol) == (None, protocol)


def test_what_is_left_of_mpls_without_labels_has_none():
    inside = ipv4(A, B, 17, bytes(8))
    assert labelled(inside, int.from_bytes(inside[:4], "big") & 0xFFFFF100).label is None
    assert labelled(b"\0\0\1", 0).label is None


def test_what_a_gre_header_announces_is_no_label():
    key, stats, place = records(gre_packet(A, B, protocol=0x8847))
    key = DropKey.from_buffer_copy(key)
    key.tuple.gre_protocol, key.tuple.family = 0x8847, 4
    drop = decode_drop(bytes(key), stats, place, REASONS, 0)
    assert (drop.label, drop.packet.gre.protocol) == (None, 0x8847)
