# SPDX-License-Identifier: GPL-2.0-only
"""Packets that die, or only seem to die, elsewhere than in the lookup."""

import socket
import threading
from pathlib import Path

import pytest

from gretrace.host.namespaces import entered
from tests.frames import gre_packet, ipv4, udp
from tests.lab.bystander import beside
from tests.lab.hosts import INNER_A, INNER_B, A, B, pair, tunnel, tunnel_a, tunnel_b
from tests.lab.session import explain_drop

TEB, ERSPAN = 0x6558, 0x88BE
FRAME = b"\xff" * 6 + b"\x02\0\0\0\0\1" + b"\x08\x00" + udp("10.10.10.2", INNER_B)
ERSPAN_HEADER = bytes([0x10, 0, 0, 7]) + bytes(4)  # version 1, session 7


def test_other_names_place_and_tunnel():
    """No cause is for what is wrong with the packet inside alone."""
    stranger = bytearray(udp(INNER_A, INNER_B))
    stranger[10] ^= 1  # the checksum of its header
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        with explain_drop(b) as session:
            a.send("va", gre_packet(A, B, payload=bytes(stranger), key=1), times=2)
            session.wait_for_packets(2)
            assert session.stop() == 3
            (report,) = session.reports
            assert report["cause"] == "other"
            assert report["count"] == 2
            assert report["kernel"] == {
                "function": "ip_rcv_core",
                "module": None,
                "reason": "IP_CSUM",
            }
            assert report["tunnel"] == report["iif"] == "gre1"
            assert (report["remote"], report["local"], report["key"]) == (A, B, 1)
            assert report["inner"] == {"src": INNER_A, "dst": INNER_B, "protocol": 17}


def test_payloads_that_a_tunnel_does_not_take():
    """They pass the lookup, or do not, and nobody was there for them."""
    packets = {
        "t0": gre_packet("20.1.1.10", B, FRAME, protocol=TEB),
        "t1": gre_packet("20.1.1.11", B, bytes(40), protocol=4),
        "t2": gre_packet("20.1.1.12", B, ERSPAN_HEADER + FRAME, protocol=ERSPAN, sequence=1),
    }
    kinds = {"t0": ("gre", ""), "t1": ("gre", ""), "t2": ("gretap", "key 7")}
    with pair() as (a, b):
        b.ip(f"addr add {INNER_B}/32 dev lo")
        for number, (name, (kind, key)) in enumerate(kinds.items()):
            tunnel(b, f"local {B} remote 20.1.1.{10 + number} {key}", kind=kind, name=name)
        with beside(a, b), explain_drop(b) as session:
            for packet in packets.values():
                a.send("va", packet, times=2)
            session.wait_for_packets(6)
            reports = {r["tunnel"]: r for r in session.reports}
            assert {name: (r["cause"], r["count"]) for name, r in reports.items()} == {
                "t0": ("wrong-type", 2), "t1": ("no-handler", 2), "t2": ("wrong-type", 2),
            }  # fmt: skip
            assert reports["t0"]["kernel"]["function"] == "__netif_receive_skb_core"
            # A bridge that was here before has loaded llc, which takes protocol 0x0004.
            if not Path("/sys/module/llc").exists():
                assert reports["t1"]["kernel"]["reason"] == "UNHANDLED_PROTO"
            assert reports["t1"]["fix"][0]["where"] == "peer"
            assert "0x0004" in reports["t1"]["summary"]
            assert reports["t2"]["kernel"]["function"] == "gre_rcv"
            for name in ("t0", "t2"):
                b.shell(reports[name]["fix"][0]["command"])
            with session.quiet():
                for name in ("t0", "t2"):
                    a.send("va", packets[name])
        assert (b.received("t0"), b.received("t2")) == (1, 1)


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
            a.send_pings("ff02::1%gre1", count=2)
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
            a.send_pings(INNER_B, count=3)
            at_b.wait_for_packets(3)
            at_b.stop()
            assert at_a.stop() == 0, at_a.stdout


def test_the_fallback_device_swallows_what_no_tunnel_takes():
    """For the kernel this is no drop at all; the end of the run tells it."""
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        b.ip("link set gre0 up")
        with explain_drop(b) as session:
            a.send("va", gre_packet(A, B, key=2, payload=udp(INNER_A, B)))
            assert session.stop() == 3
        (report,) = session.reports
        assert (report["cause"], report["count"], report["iif"]) == ("fallback-taken", 1, "gre0")
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
