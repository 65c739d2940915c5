# SPDX-License-Identifier: GPL-2.0-only
"""Set-ups from the field, received: the tunnel that was meant, and advice that breaks nothing."""

import socket
from itertools import count

from gretrace.host.namespaces import entered
from tests.frames import gre, ipv4, udp
from tests.lab.field import SENT, Row, packets, pings_from_a, prove

NHRP = 0x2001
SEQUENCE = count(7)
NOWHERE = "0.0.0.0"  # noqa: S104 - nothing listens


def gre1(attributes="", **more):
    """A tunnel of B's that has never heard its peer."""
    return lambda site: site.tunnel(attributes, **more)


def both_ends(ours, peers, **more):
    """Real tunnels at both ends."""

    def make(site):
        site.tunnel(ours, **more)
        site.peer_tunnel(peers, **more)

    return make


def several(*attributes):
    """Tunnels gre1, gre2, .. between the same two ends."""

    def make(site):
        for number, more in enumerate(attributes, start=1):
            site.tunnel(more, name=f"gre{number}", net=number - 1)

    return make


def inside(destination):
    """What A sends to an address inside."""
    return lambda site: site.send(site.packet(udp(site.in_a, destination)))


def to_broadcast(site):
    site.send(site.packet(local=site.outer(255)))


def udp_from_a(site):
    """UDP of A's own, whose checksum is left to a device as well."""
    with entered(site.a.namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(SENT):
            sender.sendto(b"x" * 32, (site.in_b, 9))


def keepalive_of_openbsd(site):
    """Its answer carries the time, a random number and a hash (gre(4))."""
    answer = ipv4(site.near, site.far, 47, gre(bytes(range(16)), protocol=0), ttl=255)
    site.send(site.packet(answer))


def echo_reply(source, destination):
    """A probe that is its own answer."""

    def send(site):
        ends = (end.format(site=site) for end in (source, destination))
        site.send(site.packet(ipv4(*ends, 1, bytes(8))))

    return send


def numbered(site):
    """Numbers that go on from one time to the next."""
    for _ in range(SENT):
        site.send(site.packet(key=9, sequence=next(SEQUENCE)), times=1)


def to_what_is_down(site):
    """It was heard, and is set down before the packets come."""
    site.b.ip("link set gre1 down")
    site.send(site.packet(key=1))


ROWS = {
    "checksum to be filled in, wrong key": Row(
        "key-mismatch", both_ends("key 1 csum", "key 2 csum"), pings_from_a,
        words=("expects key 1", "carry key 2"), command="link change gre1 type gre",
        more="csum", flows=pings_from_a,
    ),
    "two checksums to be filled in": Row(
        "key-mismatch", both_ends("key 1 csum", "key 2 csum"), udp_from_a,
        words=("expects key 1", "carry key 2"), command="link change gre1 type gre",
        flows=pings_from_a,
    ),
    "checksum at the peer only": Row(
        "checksum-policy", both_ends("", "csum"), pings_from_a,
        words=("gre1 expects no checksum",), command="link change gre1 type gre", more="icsum",
        flows=pings_from_a,
    ),
    "checksum here only": Row(
        "checksum-policy", both_ends("csum", ""), pings_from_a,
        words=("gre1 expects a checksum",), command="link change gre1 type gre", more="noicsum",
        flows=pings_from_a,
    ),
    "five tunnels between the same ends": Row(
        "key-mismatch", several(*(f"key {n}" for n in range(1, 6))), packets(key=9),
        tunnel=None, confidence="likely", words=("gre1, gre2, gre3, gre4 and gre5", "key 9"),
        unsaid=("link change",), command="link add", more="key 9",
    ),
    "two tunnels that differ in the remote": Row(
        "nat-remote",
        lambda site: [
            site.tunnel("", name=f"gre{n}", ends=f"local {site.near} remote 30.1.1.{n}", net=n)
            for n in (1, 2)
        ],
        packets(), tunnel=None, confidence="likely", words=("gre1 and gre2",),
        unsaid=("link change",), command="link add",
        mends=lambda site: site.b.ip(f"addr add {site.in_b}/32 dev lo"),
    ),
    "two tunnels, of which one has a checksum": Row(
        "key-mismatch", several("key 1", "key 2 csum"), packets(key=9, checksum=True),
        tunnel="gre2", confidence="likely", words=("gre2 expects key 2",),
        command="link change gre2",
    ),
    "two tunnels, of which one has numbers": Row(
        "key-mismatch", several("key 1", "key 2 seq"), numbered,
        tunnel="gre2", confidence="likely", words=("gre2 expects key 2",),
        command="link change gre2",
    ),
    "a stray key beside a tunnel that has received": Row(
        "key-mismatch", both_ends("key 1", "key 1"), packets(key=7), confidence="likely",
        words=("gre1 expects key 1", "carry key 7"), command="link add", before=pings_from_a,
    ),
    "no key beside a tunnel that has received": Row(
        "key-missing", both_ends("key 1", "key 1"), packets(), confidence="likely",
        command="link add", before=pings_from_a,
    ),
    "the tunnel has received and is down": Row(
        "tunnel-down", both_ends("key 1", "key 1"), to_what_is_down, before=pings_from_a,
        command="link set gre1 up", flows=pings_from_a,
    ),
    "to the broadcast address of the subnet": Row(
        "local-mismatch", gre1(), to_broadcast, words=("20.{site.number}.1.255", "broadcast"),
        unsaid=("link change", "link add"), where="peer", is_mended=False,
    ),
    "NHRP": Row(
        "no-handler", gre1("key 1"), packets(key=1, protocol=NHRP), words=("NHRP",),
        notes=("DMVPN",), unsaid=("send no",), is_mended=False,
    ),
    "to a class E address": Row(
        "martian-destination", gre1(), inside("240.0.0.1"), words=("240.0.0.1",),
        where="peer", unsaid=("addr add",), is_mended=False,
    ),
    "to a loopback address": Row(
        "martian-destination", gre1(), inside("127.0.0.1"), words=("127.0.0.1",),
        where="peer", unsaid=("addr add",), is_mended=False,
    ),
    "to no address": Row(
        "martian-destination", gre1(), inside(NOWHERE), words=(NOWHERE,),
        where="peer", unsaid=("addr add",), is_mended=False,
    ),
    "a keepalive of OpenBSD's": Row(
        "keepalive-unanswered", gre1(), keepalive_of_openbsd,
        words=("sends keepalives",), command="", is_mended=False,
    ),
    "a health check of Cloudflare's, inside": Row(
        "health-check-unanswered", gre1(), echo_reply("{site.in_b}", "{site.in_a}"),
        words=("health checks",), command="sysctl -w net.ipv4.conf.gre1.forwarding=1",
        is_mended=False,
    ),
    "a health check of Cloudflare's, outside": Row(
        "health-check-unanswered", gre1(), echo_reply("{site.near}", "{site.far}"),
        words=("health checks",), command="sysctl -w net.ipv4.conf.gre1.forwarding=1",
        is_mended=False,
    ),
}  # fmt: skip

told, test_told, test_mended, test_what_worked_before_still_works = prove(ROWS)
