# SPDX-License-Identifier: GPL-2.0-only
"""Healthy traffic of many kinds: nothing is reported, and the exit code is 0."""

import socket
import threading
from contextlib import ExitStack, contextmanager

import pytest

from gretrace.host.namespaces import entered
from tests.frames import gre_packet, ipv4, ipv6, udp
from tests.lab.hosts import INNER_A, INNER_B, A, B, hosts, pair, tunnel, tunnel_a, tunnel_b, wire
from tests.lab.session import explain_drop, gretrace
from tests.lab.test_respond import A6, B6, Kind, hear, listen, with_ipv6

INNER_A6, INNER_B6 = "fd10::2", "fd10::1"
PORT = 5000
KEEPALIVE = Kind(f"local {B} remote {A} ttl 255")


@contextmanager
def nothing_reported(*watched):
    """Watch hosts meanwhile; none of them reports anything."""
    with ExitStack() as stack:
        sessions = [stack.enter_context(explain_drop(host)) for host in watched]
        yield
        for session in sessions:
            assert session.stop() == 0, session.stdout
            assert session.records == []


def ping(host, address, **more):
    assert host.ping(address, count=2, **more)


def inner_ipv6(*ends):
    for host, address in ends:
        host.sysctl("net.ipv6.conf.gre1.disable_ipv6=0")
        host.ip(f"addr add {address}/64 dev gre1 nodad")


def open_socket(host, kind, address, family=socket.AF_INET):
    with entered(host.namespace):
        made = socket.socket(family, kind)
    made.settimeout(20)
    if address:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, PORT))
    return made


def udp_both_ways(client, server, address, size=1000, family=socket.AF_INET):
    """Send a datagram, which may need fragments, and have it sent back."""
    with (
        open_socket(server, socket.SOCK_DGRAM, address, family) as there,
        open_socket(client, socket.SOCK_DGRAM, None, family) as here,
    ):
        for _ in range(3):
            here.sendto(bytes(size), (address, PORT))
            data, sender = there.recvfrom(65536)
            there.sendto(data, sender)
            assert len(here.recv(65536)) == size


def tcp(client, server, address, family=socket.AF_INET):
    """Move data, and close the connection from both ends."""
    received = []
    with (
        open_socket(server, socket.SOCK_STREAM, address, family) as listener,
        open_socket(client, socket.SOCK_STREAM, None, family) as here,
    ):
        listener.listen()

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(20)
                while data := connection.recv(65536):
                    received.append(len(data))

        thread = threading.Thread(target=serve)
        thread.start()
        here.connect((address, PORT))
        here.sendall(bytes(200_000))
        here.shutdown(socket.SHUT_WR)
        thread.join()
    assert sum(received) == 200_000


@pytest.mark.parametrize("attributes", ["", "key 7 csum seq"])
def test_packets_of_all_sizes_and_families(attributes):
    with pair() as (a, b):
        tunnel_a(a, attributes)
        tunnel_b(b, attributes)
        inner_ipv6((a, INNER_A6), (b, INNER_B6))
        with nothing_reported(a, b):
            # As a person does, whose ping tries more sockets than one.
            for address in (INNER_B, INNER_B6):
                a.run("ping", "-n", "-i", "0.2", "-c", "2", "-W", "5", address)
            ping(b, INNER_A)
            # Fragments inside.
            ping(a, INNER_B, size=4000)
            ping(a, INNER_B6, size=4000)
            udp_both_ways(a, b, INNER_B, 3000)
            udp_both_ways(a, b, INNER_B6, family=socket.AF_INET6)
            tcp(a, b, INNER_B)
            tcp(b, a, INNER_A6, socket.AF_INET6)


def test_fragments_outside():
    """Tunnels that let their own packets be fragmented, whatever the inner ones say."""
    with pair() as (a, b):
        tunnel_a(a, "nopmtudisc ignore-df")
        tunnel_b(b, "nopmtudisc ignore-df")
        for host in (a, b):
            host.ip("link set dev gre1 mtu 1500")
        with nothing_reported(a, b):
            ping(a, INNER_B, size=1472)
            udp_both_ways(a, b, INNER_B, 1472)


def test_multicast_whether_joined_or_not():
    hello = ipv4(INNER_A, "224.0.0.5", 89, bytes(44), ttl=1)
    hello6 = ipv6("fe80::2", "ff02::5", 89, bytes(36), hop_limit=1)
    with pair() as (a, b):
        tunnel_a(a)
        tunnel_b(b)
        inner_ipv6((a, INNER_A6), (b, INNER_B6))
        with open_socket(b, socket.SOCK_DGRAM, "239.1.1.1") as joined, nothing_reported(a, b):
            group = socket.inet_aton("239.1.1.1") + socket.inet_aton(INNER_B)
            with entered(b.namespace):
                joined.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            a.send("va", gre_packet(A, B, udp(INNER_A, "239.1.1.1")))
            a.send("va", gre_packet(A, B, hello), times=2)
            a.send("va", gre_packet(A, B, hello6, protocol=0x86DD), times=2)
            a.send_pings("ff02::1%gre1")
        assert b.received("gre1") >= 5


@pytest.mark.parametrize("kind", ["gretap", "ip6gretap"])
def test_ethernet_with_arp_and_broadcast(kind):
    with pair() as (a, b):
        with_ipv6(a, b)
        ours, peers = (B6, A6) if kind == "ip6gretap" else (B, A)
        for host, inner, local, remote in ((a, INNER_A, peers, ours), (b, INNER_B, ours, peers)):
            host.ip(
                f"link add gre1 type {kind} local {local} remote {remote}",
                f"addr add {inner}/24 dev gre1",
                "link set gre1 up",
            )
        with nothing_reported(a, b):
            ping(a, INNER_B)
            b.sysctl("net.ipv4.icmp_echo_ignore_broadcasts=0")
            ping(a, "10.10.10.255")
            tcp(a, b, INNER_B)


def test_keepalives_that_are_answered():
    packet, carried = KEEPALIVE.keepalive()
    with pair() as (a, b):
        tunnel_a(a)
        tunnel_b(b)
        assert gretrace(b, "respond", "gre1").exit_code == 0
        with nothing_reported(b), listen(a, "va") as heard:
            a.send("va", packet, times=5)
            assert all(carried in frame for frame in hear(heard, B, 5))
            ping(a, INNER_B)


def test_a_router_between_two_tunnels():
    with hosts("a", "b", "c") as (a, b, c):
        wire(a, "va", "20.1.1.2/24", b, "vb", "20.1.1.1/24")
        wire(c, "vc", "20.2.2.2/24", b, "vd", "20.2.2.1/24")
        tunnel(a, "local 20.1.1.2 remote 20.1.1.1", address="10.1.1.2")
        tunnel(b, "local 20.1.1.1 remote 20.1.1.2", address="10.1.1.1")
        tunnel(c, "local 20.2.2.2 remote 20.2.2.1 key 5", address="10.2.2.2")
        tunnel(b, "local 20.2.2.1 remote 20.2.2.2 key 5", name="gre2", address="10.2.2.1")
        a.ip("route add 10.2.2.0/30 dev gre1")
        c.ip("route add 10.1.1.0/30 dev gre1")
        b.sysctl("net.ipv4.ip_forward=1")
        with nothing_reported(a, b, c):
            ping(a, "10.2.2.2")
            udp_both_ways(c, a, "10.1.1.2", 3000)
            tcp(a, c, "10.2.2.2")


@pytest.mark.parametrize("attributes", ["", "encaplimit none key 3"])
def test_tunnels_over_ipv6(attributes):
    with pair() as (a, b):
        with_ipv6(a, b)
        tunnel(a, f"local {A6} remote {B6} {attributes}", kind="ip6gre", address=INNER_A)
        tunnel(b, f"local {B6} remote {A6} {attributes}", kind="ip6gre", address=INNER_B)
        inner_ipv6((a, INNER_A6), (b, INNER_B6))
        with nothing_reported(a, b):
            ping(a, INNER_B)
            ping(b, INNER_A6)
            udp_both_ways(a, b, INNER_B, 3000)
            tcp(a, b, INNER_B6, socket.AF_INET6)
