# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/wireguard.py."""

from ipaddress import ip_address, ip_network

from gretrace.kernel.wireguard import Peer, WireGuard
from gretrace.model import Place
from tests.frames import gre_packet
from tests.unit.cases import A, B, tunnel
from tests.unit.host import FakeHost, at, by

WG = 12
XMIT = Place("wg_xmit", "wireguard")
PURGE = Place("wg_packet_purge_staged_packets", "wireguard")
KEY, OTHER = "a" * 43 + "=", "b" * 43 + "="


def peer(*allowed, key=KEY, endpoint="192.0.2.9", handshake=0):
    networks = tuple(map(ip_network, allowed))
    return Peer(key, ip_address(endpoint) if endpoint else None, networks, handshake)


def sent(*peers, place=XMIT, whole=True, host=None):
    """What gre1 sends to A by wg0."""
    devices = {WG: WireGuard(peers, whole)} if host is None else {}
    host = FakeHost(routes={A: by(WG, "wg0")}, own=(B,), wireguards=devices)
    more = {"ifindex": WG, "is_sent": True, "is_routed": True}
    return at(gre_packet(B, A), tunnel(), iif="wg0", place=place, host=host, **more)


EXPECTED = {
    "tx-wireguard": (sent(peer("10.9.0.2/32")), "gre1"),
    "tx-wireguard, no peer": (sent(), "gre1"),
    "tx-wireguard, two peers": (sent(peer("10.9.0.2/32"), peer(key=OTHER)), "gre1"),
    "tx-wireguard, more than were read": (sent(peer("10.9.0.2/32"), whole=False), "gre1"),
    "tx-wireguard, very many networks": (
        sent(peer(*(f"10.9.{n}.0/24" for n in range(16)))),
        "gre1",
    ),
    "tx-wireguard, the remote is the endpoint": (
        sent(peer("10.9.0.2/32", endpoint=A)),
        "gre1",
    ),
    "tx-wireguard, no endpoint": (sent(peer("20.0.0.0/8", endpoint=None)), "gre1"),
    "tx-wireguard, no handshake": (sent(peer("0.0.0.0/0"), place=PURGE), "gre1"),
    "tx-wireguard, it fell silent": (
        sent(peer("0.0.0.0/0"), peer(f"{A}/32", key=OTHER, handshake=-300), place=PURGE),
        "gre1",
    ),
    "other, WireGuard knows the way by now": (sent(peer("20.0.0.0/8")), None),
    "other, WireGuard gave up what no peer has now": (sent(place=PURGE), None),
    "other, the peers are not known": (sent(host=FakeHost()), None),
}
