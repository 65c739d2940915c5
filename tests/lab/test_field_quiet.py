# SPDX-License-Identifier: GPL-2.0-only
"""What healthy networks do all day: for a minute nothing is reported, and `-v` counts it."""

import re
import socket
import time
from itertools import count

import pytest

from gretrace.host.namespaces import entered
from tests.frames import gre_packet, ipv4, udp
from tests.lab.field import sites
from tests.lab.hosts import run
from tests.lab.ping import Ping, ping_all
from tests.lab.session import explain_drop
from tests.lab.test_field_blind import (
    FORWARD,
    IN_VRF,
    LAN,
    bridged,
    every,
    gre1,
    port,
)  # fmt: skip

MINUTE = 60  # seconds
SEQUENCE = count(1)
TEB, ERSPAN, TYPE_III = 0x6558, 0x88BE, 0x22EB
OTHER, SENDER = b"\x02\xaa\0\0\0\x09", b"\x02\0\0\0\0\x01"
LLDP, CDP, STP = map(bytes.fromhex, ("0180c200000e", "01000ccccccc", "0180c2000000"))
IPV4, VLAN, UNKNOWN = b"\x08\x00", b"\x81\x00", b"\x88\xb5"


def frame(destination, kind, payload, source=SENDER):
    return destination + source + kind + payload


def link_layer(packet):
    """Frames that a switch floods, and protocols that only neighbours speak."""
    llc = bytes.fromhex("424203") + bytes(43)
    snap = bytes.fromhex("aaaa0300000c2000") + bytes(38)
    return [
        frame(OTHER, IPV4, packet),
        frame(OTHER, UNKNOWN, bytes(46)),
        frame(LLDP, b"\x88\xcc", bytes(46)),
        frame(CDP, len(snap).to_bytes(2, "big"), snap),
        frame(STP, len(llc).to_bytes(2, "big"), llc),
        frame(OTHER, VLAN, b"\x00\x05" + IPV4 + packet),
        frame(b"\xff" * 6, VLAN, b"\x00\x06" + IPV4 + packet),
        frame(b"\xff" * 6, UNKNOWN, bytes(46)),
    ]


def send_frames(site):
    for one in link_layer(udp(site.in_a, site.inner(77))):
        site.send(site.packet(one, protocol=TEB))


def back_to_the_same_port(site):
    send_frames(site)
    learned = b"\x02\xbb\0\0\0\x05"
    packet = udp(site.in_a, site.inner(78))
    site.send(site.packet(frame(b"\xff" * 6, UNKNOWN, bytes(46), source=learned), protocol=TEB))
    site.send(site.packet(frame(learned, IPV4, packet), protocol=TEB))


def mirrored(site):
    """What a switch mirrors: frames of others, of many flows."""
    for number in range(200):
        flow = udp(f"99.7.{number}.1", f"99.8.{number}.1")
        header = bytes([0x10, 0, 0, 7]) + bytes(4)  # ERSPAN II of session 7
        payload = header + frame(OTHER, IPV4, flow)
        packet = gre_packet(site.far, site.near, payload, protocol=ERSPAN, sequence=next(SEQUENCE))
        site.send(packet, times=1)


def mirrored_as_type_iii(site):
    """What the kernel takes by a tunnel of type II as well."""
    payload = bytes([0x20, 0, 0, 7]) + bytes(8) + frame(OTHER, IPV4, udp("99.7.1.1", "99.8.1.1"))
    for _ in range(3):
        more = {"protocol": TYPE_III, "sequence": next(SEQUENCE)}
        site.send(gre_packet(site.far, site.near, payload, **more), times=1)


def for_other_hosts(site):
    """GRE for another Ethernet address, and for a VLAN that B has not."""
    macs = site.a.wires[site.va]
    with entered(site.a.namespace), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((site.va, 0x0800))
        wire.send(OTHER + macs[6:] + IPV4 + site.packet())
        wire.send(macs + VLAN + b"\x00\x07" + IPV4 + site.packet())
        for number in range(50):
            packet = gre_packet(f"99.9.{number}.1", f"99.9.{number}.2")
            wire.send(OTHER + macs[6:] + IPV4 + packet)


def traceroute(site):
    for ttl in (1, 2):
        inner = ipv4(site.in_a, site.inner(9, 20), 17, bytes.fromhex("10e182a000080000"), ttl=ttl)
        site.send(site.packet(inner))
    site.send(site.packet(ipv4(site.in_a, site.in_b, 17, bytes.fromhex("10e182a000080000"))))


def routing_protocols(site):
    """Greetings to whoever speaks OSPF, EIGRP, PIM and VRRP."""
    greetings = ((89, "224.0.0.5"), (88, "224.0.0.10"), (103, "224.0.0.13"), (112, "224.0.0.18"))
    for protocol, group in greetings:
        site.send(site.packet(ipv4(site.in_a, group, protocol, bytes(44), ttl=1)))


def solicits(site):
    """A tunnel to anywhere comes up with IPv6, and looks for routers."""
    site.b.sysctl("net.ipv6.conf.default.disable_ipv6=0")
    site.b.ip(f"link add gre1 type gre local {site.near} key 1", "link set gre1 up")


def real(ours="", peers=None, **more):
    def make(site):
        site.tunnel(ours, **more)
        site.peer_tunnel(ours if peers is None else peers, **more)

    return make


def over_udp(site):
    more = f"encap fou encap-sport auto encap-dport {port(site)}"
    run("modprobe", "fou")
    for host in (site.a, site.b):
        host.ip(f"fou add port {port(site)} ipproto 47")
    real(f"key 1 {more}")(site)


def nothing(_site):
    """Send nothing but pings."""


def pinged(site):
    return [Ping(site.b, site.in_a, 2), Ping(site.a, site.in_b, 2)]


def monitor(site):
    site.b.ip(
        f"link add mon0 type erspan local {site.near} remote {site.far} erspan_ver 1 key 7 seq",
        "link set mon0 up",
    )


# B's state; what A sends; whether both ends ping each other.
ROWS = {
    "frames of a switched network": (gre1(kind="gretap"), send_frames, False),
    "frames over a bridge": (bridged, back_to_the_same_port, False),
    "a monitor port": (monitor, mirrored, False),
    "a monitor port of another type of ERSPAN": (monitor, mirrored_as_type_iii, False),
    "GRE for others on the link": (gre1(), for_other_hosts, False),
    "a tunnel to anywhere that comes up": (solicits, nothing, False),
    "traceroute": (every(gre1(), FORWARD, LAN), traceroute, False),
    "routing protocols that nobody speaks here": (gre1(), routing_protocols, False),
    "plain": (real(), nothing, True),
    "keyed, with checksums and numbers": (real("key 3 csum seq"), nothing, True),
    "Ethernet": (real(kind="gretap"), nothing, True),
    "over UDP": (over_udp, nothing, True),
    "in a VRF": (every(real(), IN_VRF), nothing, False),
}


@pytest.fixture(scope="module")
def said():
    with sites(list(ROWS)) as made, explain_drop(None, "--all-netns", "-v") as session:
        started = time.monotonic()
        for name, (setup, _, _) in ROWS.items():
            setup(made[name])
        while time.monotonic() < started + MINUTE:
            for name, (_, send, _) in ROWS.items():
                send(made[name])
            ping_all([p for name, row in ROWS.items() if row[2] for p in pinged(made[name])])
            time.sleep(5)
        session.stop()
        names = {site.b.namespace.inode: name for name, site in made.items()}
        yield names, session


@pytest.mark.parametrize("name", ROWS)
def test_nothing_is_reported(said, name):
    names, session = said
    told = [
        (r["cause"], r["count"], r["iif"], r["summary"], r["kernel"])
        for r in session.reports
        if names.get(r["netns"]) == name
    ]
    assert told == []


def test_what_was_freed_by_design_is_counted(said):
    _, session = said
    for words in ("for another host of the link", "nothing here speaks", "its last hop"):
        assert re.search(rf"[0-9]+ packets .*{words}", session.stderr), session.stderr
