# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/header.py."""

from dataclasses import replace
from ipaddress import ip_address

from gretrace.kernel.surroundings import Nowhere
from gretrace.model import Place, Route
from tests.frames import answer, gre, gre_packet, ipv4, ipv6, udp
from tests.unit.cases import A, B, case, tunnel

DEMUX = Place("gre_rcv", "gre")
IP6_GRE = Place("gre_rcv", "ip6_gre")
A6, B6 = "fd00::2", "fd00::1"
GROUP = "239.1.1.1"
LONG = bytes(range(200))


class _Host(Nowhere):
    """A host that has some addresses, and modules in some state."""

    def __init__(self, *own, modules=None):
        self._own = [ip_address(address) for address in own]
        self._modules = modules

    def route(self, remote, _source=None, _device=None):
        return Route(is_own=remote in self._own)

    def module_state(self, _module):
        return self._modules


def at(packet, *tunnels, host=None, **more):
    judged = case(packet, *tunnels, **more)
    return replace(judged, host=host) if host else judged


def six(**header):
    return ipv6(A6, B6, 47, gre(udp("10.10.10.2", "10.10.10.1"), **header))


def broken(data):
    return data[:-1] + bytes([data[-1] ^ 1])


CHECKSUMMED = gre_packet(A, B, LONG, checksum=True)
LOOPED = gre_packet(B, GROUP, key=1)

EXPECTED = {
    "no-gre-module": (
        at(
            gre_packet(A, B),
            place=Place("ip_local_deliver_finish"),
            reason="IP_NOPROTO",
            host=_Host(modules="loadable"),
        ),
        None,
    ),
    "no-gre-module, none to load": (
        at(gre_packet(A, B), place=Place("ip_protocol_deliver_rcu"), reason="IP_NOPROTO"),
        None,
    ),
    "no-gre-module, the demultiplexer alone": (at(gre_packet(A, B), place=DEMUX), None),
    "no-gre-module, over IPv6": (
        at(six(), place=Place("ip6_protocol_deliver_rcu"), reason="IP_NOPROTO"),
        None,
    ),
    "malformed-gre": (at(gre_packet(A, B, flags=0x4000), tunnel(key=1)), None),
    "malformed-gre, a bare keepalive answer": (at(answer(A, B), tunnel(), place=DEMUX), None),
    "malformed-gre, the same with a key": (at(answer(A, B, key=1), place=DEMUX), None),
    "malformed-gre, too short": (at(ipv4(A, B, 47, gre(b"xyz")), tunnel(), place=DEMUX), None),
    "malformed-gre, too short, of version 1": (
        at(gre_packet(A, B, flags=0x4001)[:24], place=DEMUX),
        None,
    ),
    "malformed-gre, no header at all": (at(ipv4(A, B, 47, b"xy"), place=DEMUX), None),
    "malformed-gre, a reserved bit": (at(gre_packet(A, B, flags=0x08), place=DEMUX), None),
    "malformed-gre, all of it built in": (
        at(gre_packet(A, B, flags=0x08), tunnel(key=1), place=Place("gre_rcv")),
        None,
    ),
    "malformed-gre, fields beyond the end": (
        at(ipv4(A, B, 47, bytes.fromhex("b0000800") + bytes(8)), tunnel()),
        None,
    ),
    "malformed-gre, over IPv6": (
        at(ipv6(A6, B6, 47, bytes.fromhex("20000800")), place=IP6_GRE),
        None,
    ),
    "key-unexpected, no bits are reserved over IPv6": (
        at(
            six(flags=0x08, key=2),
            tunnel(kind="ip6gre", local=B6, remote=A6),
            place=IP6_GRE,
        ),
        "gre1",
    ),
    "unsupported-version": (at(gre_packet(A, B, flags=1), tunnel(key=1), place=DEMUX), None),
    "unsupported-version, pptp is there": (
        at(gre_packet(A, B, flags=0x81), place=DEMUX, host=_Host(modules="loadable")),
        None,
    ),
    "unsupported-version, of no RFC": (at(gre_packet(A, B, flags=5), place=DEMUX), None),
    "unsupported-version, over IPv6": (at(six(flags=1), place=IP6_GRE), None),
    "bad-checksum": (at(broken(CHECKSUMMED), tunnel(icsum=True)), None),
    "bad-checksum, no tunnel": (at(broken(CHECKSUMMED)), None),
    "bad-checksum, too long to verify": (
        at(CHECKSUMMED[:128], tunnel(icsum=True), length=len(CHECKSUMMED)),
        "gre1",
    ),
    "bad-checksum, over IPv6": (
        at(broken(six(checksum=True)), place=IP6_GRE),
        None,
    ),
    "no-tunnel, a checksum too long to verify": (
        at(CHECKSUMMED[:128], length=len(CHECKSUMMED)),
        None,
    ),
    "multicast-loop": (at(LOOPED, tunnel(remote=GROUP, key=1), host=_Host(B)), "gre1"),
    "multicast-loop, without a tunnel": (at(LOOPED, host=_Host(B)), None),
    "multicast-loop, before the header is read": (
        at(gre_packet(B, GROUP, flags=0x4000), host=_Host(B)),
        None,
    ),
    "key-mismatch, of another member": (
        at(gre_packet(A, GROUP, key=2), tunnel(remote=GROUP, key=1), host=_Host(B)),
        "gre1",
    ),
}
