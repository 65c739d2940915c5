# SPDX-License-Identifier: GPL-2.0-only
"""What is read of WireGuard's peers, and said of them."""

import struct
from ipaddress import ip_address, ip_network

import pytest

from gretrace.host.wireguard import add_peers
from gretrace.kernel.wireguard import Peer, WireGuard
from gretrace.model import Confidence
from gretrace.verdicts import explain
from tests.unit.cases import A
from tests.unit.expected.wireguard import EXPECTED, KEY

PUBLIC = bytes(range(32))
PRIVATE = b"\xaa" * 32


def attribute(kind, value):
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + bytes(-size % 4)


def listed(*entries):
    return b"".join(attribute(0x8000 | number, entry) for number, entry in enumerate(entries))


def allowed(address, bits):
    packed = ip_address(address).packed
    return attribute(1, b"\2\0") + attribute(2, packed) + attribute(3, bytes([bits]))


def peer(*networks, endpoint=b"", handshake=0, key=PUBLIC):
    told = attribute(1, key) + attribute(9, listed(*networks))
    told += attribute(4, endpoint) if endpoint else b""
    return told + attribute(6, struct.pack("=qq", handshake, 5))


def message(*peers):
    device = attribute(1, bytes(4)) + attribute(2, b"wg0\0") + attribute(3, PRIVATE)
    return bytes(4) + device + attribute(8, listed(*peers))


IPV4_END = struct.pack("=H", 2) + (51820).to_bytes(2, "big") + ip_address(A).packed + bytes(8)
IPV6_END = struct.pack("=H", 10) + bytes(6) + ip_address("fd00::9").packed + bytes(4)


@pytest.mark.parametrize(
    ("endpoint", "read"), [(b"", None), (IPV4_END, A), (IPV6_END, "fd00::9"), (bytes(9), None)]
)
def test_a_peer_is_read(endpoint, read):
    peers = {}
    networks = allowed("10.9.0.0", 24), allowed("fd00::", 64), allowed("10.9.0.0", 33)
    add_peers(peers, message(peer(*networks, endpoint=endpoint, handshake=77)))
    (found,) = peers.values()
    assert found.key == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert found.allowed == (ip_network("10.9.0.0/24"), ip_network("fd00::/64"))
    assert (found.endpoint, found.handshake) == (read and ip_address(read), 77)
    assert PRIVATE.hex() not in str(peers)


def test_a_peer_goes_on_in_the_next_message():
    peers = {}
    add_peers(peers, message(peer(allowed("10.1.0.0", 16), endpoint=IPV4_END, handshake=7)))
    add_peers(peers, message(attribute(1, PUBLIC) + attribute(9, listed(allowed("10.2.0.0", 16)))))
    (found,) = peers.values()
    assert list(map(str, found.allowed)) == ["10.1.0.0/16", "10.2.0.0/16"]
    assert (found.handshake, str(found.endpoint)) == (7, A)


@pytest.mark.parametrize("size", range(0, 160, 3))
def test_what_is_cut_short_raises_nothing(size):
    peers = {}
    add_peers(peers, message(peer(allowed("10.9.0.0", 24), endpoint=IPV4_END))[:size])
    assert len(peers) <= 1


def test_the_longest_prefix_decides():
    wide, narrow = (
        Peer(key, None, [ip_network(network)])
        for key, network in (("wide", "0.0.0.0/0"), ("narrow", "20.1.0.0/16"))
    )
    link = WireGuard([wide, narrow])
    assert link.peer_for(ip_address(A)) is narrow
    assert link.peer_for(ip_address("9.9.9.9")) is wide
    assert link.peer_for(ip_address("fd00::1")) is None


def said(name):
    return explain(EXPECTED[name][0]).finding


def test_the_only_peer_gets_the_remote_beside_what_it_has():
    found = said("tx-wireguard")
    assert found.fix[0].command.text == (f"wg set wg0 peer {KEY} allowed-ips 10.9.0.2/32,{A}/32")
    assert f"{A} is in the allowed-ips of no peer" in found.summary
    assert any(f"peer {KEY}, allowed-ips 10.9.0.2/32" in line for line in found.evidence)


@pytest.mark.parametrize(
    "name",
    ["no peer", "two peers", "more than were read", "very many networks", "no endpoint",
     "the remote is the endpoint"],
)  # fmt: skip
def test_where_the_command_is_not_known_none_is_given(name):
    assert said(f"tx-wireguard, {name}").fix[0].command is None


def test_of_what_was_not_read_nothing_is_certain():
    assert said("tx-wireguard, more than were read").confidence is Confidence.LIKELY


def test_an_endpoint_is_not_sent_to_itself():
    assert "where the peer of wg0 itself lives" in (
        said("tx-wireguard, the remote is the endpoint").fix[0].note
    )


def test_a_handshake_that_was_is_told_by_its_age():
    assert "there was none yet" in said("tx-wireguard, no handshake").summary
    assert "the last was 301 s before" in said("tx-wireguard, it fell silent").summary
