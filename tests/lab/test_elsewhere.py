"""Packets that die, or only seem to die, elsewhere than in the lookup."""

import socket
import threading

import pytest

from gretrace.namespaces import entered
from tests.frames import gre, gre_packet, ipv4, udp
from tests.lab.hosts import INNER_A, INNER_B, A, B, pair, tunnel_a, tunnel_b
from tests.lab.session import explain_drop

KEEPALIVE_ANSWER = ipv4(A, B, 47, gre(b"", protocol=0))


def other_cases():
    """Packet, where the kernel frees it, attributes of B's tunnel."""
    return {
        "keepalive answer of 4 GRE bytes": (KEEPALIVE_ANSWER, "gre_rcv", "gre", ""),
        "version 1": (gre_packet(A, B, flags=1), "gre_rcv", "gre", ""),
        "routing bit": (gre_packet(A, B, flags=0x4000), "gre_rcv", "ip_gre", ""),
        "wrong checksum": (_broken_checksum(), "gre_rcv", "ip_gre", "icsum"),
        "checksum that the tunnel does not expect": (
            gre_packet(A, B, checksum=True),
            "ip_tunnel_rcv",
            "ip_tunnel",
            "",
        ),
        "sequence missing": (gre_packet(A, B), "ip_tunnel_rcv", "ip_tunnel", "iseq"),
        "congestion mark on a packet that cannot bear it": (
            gre_packet(A, B, tos=3),
            "ip_tunnel_rcv",
            "ip_tunnel",
            "",
        ),
    }


def _broken_checksum():
    packet = bytearray(gre_packet(A, B, checksum=True))
    packet[-1] ^= 1
    return bytes(packet)


@pytest.mark.parametrize(
    ("packet", "function", "module", "attributes"), other_cases().values(), ids=other_cases()
)
def test_other_names_the_place(packet, function, module, attributes):
    with pair() as (a, b):
        tunnel_b(b, attributes)
        with explain_drop(b) as session:
            a.send("va", packet, times=3)
            session.wait_for_packets(3)
            assert session.stop() == 3
            (report,) = session.reports
            assert report["cause"] == "other"
            assert report["count"] == 3
            assert (report["remote"], report["local"]) == (A, B)
            assert report["kernel"]["function"] == function
            assert report["kernel"]["module"] == module
            assert report["kernel"]["reason"] == "NOT_SPECIFIED"


def test_a_packet_that_dies_behind_the_tunnel_names_the_tunnel():
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        b.sysctl("net.ipv4.conf.gre1.rp_filter=1")
        stranger = udp("99.9.9.9", INNER_B)
        with explain_drop(b) as session:
            a.send("va", gre_packet(A, B, payload=stranger, key=1), times=2)
            session.wait_for_packets(2)
            assert session.stop() == 3
            (report,) = session.reports
            assert report["cause"] == "other"
            assert report["kernel"]["reason"] == "IP_RPFILTER"
            assert report["tunnel"] == report["iif"] == "gre1"
            assert (report["remote"], report["local"], report["key"]) == (A, B, 1)
            assert report["inner"] == {"src": "99.9.9.9", "dst": INNER_B, "protocol": 17}


@pytest.mark.parametrize("kind", ["gre", "gretap"])
def test_healthy_traffic_reports_nothing(kind):
    with pair() as (a, b):
        tunnel_a(a, "key 1 csum", kind=kind)
        tunnel_b(b, "key 1 csum", kind=kind)
        for host in (a, b):
            host.sysctl("net.ipv6.conf.gre1.disable_ipv6=0")
        with explain_drop(b) as at_b, explain_drop(a) as at_a:
            assert a.ping(INNER_B, count=5)
            assert b.ping(INNER_A, count=5)
            _tcp(a, b)
            a.run("ping", "-c", "2", "-W", "1", "ff02::1%gre1", check=False)
            for session in (at_a, at_b):
                assert session.stop() == 0, session.stdout
                assert session.records == []


def test_multicast_that_nobody_joined_is_no_drop():
    """A router that speaks OSPF greets its peers, whether they listen or not."""
    hello = ipv4(INNER_A, "224.0.0.5", 89, bytes(44), ttl=1)
    with pair() as (a, b):
        tunnel_b(b)
        with explain_drop(b) as session:
            a.send("va", gre_packet(A, B, payload=hello), times=3)
            assert session.stop() == 0, session.stdout
        assert b.received("gre1") == 3


def test_a_capture_with_a_full_buffer_is_no_drop():
    with pair() as (a, b):
        tunnel_a(a)
        tunnel_b(b)
        with entered(b.namespace):
            capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        with capture, explain_drop(b) as session:
            capture.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            assert a.ping(INNER_B, count=30)
            assert session.stop() == 0, session.stdout


def test_the_peer_that_is_told_of_the_reject_reports_nothing():
    """B's ICMP answer makes A look a tunnel up as well: for an error, not for a packet."""
    with pair() as (a, b):
        tunnel_a(a, "key 2")
        tunnel_b(b, "key 1")
        with explain_drop(a) as at_a, explain_drop(b) as at_b:
            a.ping(INNER_B, count=3)
            at_b.wait_for_packets(3)
            at_b.stop()
            assert at_a.stop() == 0, at_a.stdout


def test_the_fallback_device_swallows_what_no_tunnel_takes():
    """For the kernel this is no drop at all."""
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        b.ip("link set gre0 up")
        with explain_drop(b) as session:
            a.send("va", gre_packet(A, B, key=2, payload=udp(INNER_A, B)))
            assert session.stop() == 0, session.stdout
        assert b.received("gre0") == 1


def _tcp(client, server):
    """Move data through the tunnel."""
    with entered(server.namespace):
        listener = socket.create_server((INNER_B, 5000))
    with entered(client.namespace):
        outgoing = socket.socket()
    received = []

    def serve():
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(65536):
                received.append(len(data))

    with listener, outgoing:
        thread = threading.Thread(target=serve)
        thread.start()
        outgoing.connect((INNER_B, 5000))
        outgoing.sendall(bytes(200_000))
        outgoing.shutdown(socket.SHUT_WR)
        thread.join()
    assert sum(received) == 200_000
