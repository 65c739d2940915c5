# SPDX-License-Identifier: GPL-2.0-only
"""Tunnels that receive elsewhere, the kernel's own devices, and tunnels over IPv6."""

from contextlib import contextmanager
from dataclasses import dataclass

from tests.frames import gre, gre_packet, ipv6, udp
from tests.lab.bystander import beside
from tests.lab.hosts import INNER_A, INNER_B, A, B, hosts, pair, tunnel, tunnel_a, tunnel_b
from tests.lab.session import explain_drop

A6, B6, OTHER_B6 = "fd00::2", "fd00::1", "fd00::3"
TEB = 0x6558
SENT = 3
FRAME = b"\xff" * 6 + b"\x02\0\0\0\0\1" + b"\x08\x00" + udp("10.10.10.2", INNER_B)
NOT_OURS = udp(INNER_A, "10.99.9.9")


@contextmanager
def pair6():
    """Two routers on one wire of both families."""
    with pair() as (a, b):
        for host, device, address in ((a, "va", A6), (b, "vb", B6)):
            host.sysctl(f"net.ipv6.conf.{device}.disable_ipv6=0")
            host.ip(f"addr add {address}/64 dev {device} nodad")
        yield a, b


def only(session, count=SENT):
    session.wait_for_packets(count)
    (report,) = session.reports
    assert report["count"] == count
    return report


def test_a_tunnel_in_another_namespace():
    with pair() as (a, b), hosts("c") as (c,):
        tunnel_a(a, "key 5")
        tunnel_b(c, "key 5")
        with explain_drop(b) as session:
            a.send("va", gre_packet(A, B, key=5), times=SENT)
            report = only(session)
            assert session.stop() == 3
        assert (report["cause"], report["tunnel"]) == ("wrong-netns", "gre1")
        assert report["kernel"]["function"] == "gre_rcv"
        assert (report["remote"], report["local"], report["key"]) == (A, B, 5)
        assert report["confidence"] == "certain"
        assert c.name in report["summary"]
        # What comes to mind first does not help: it receives where it was made.
        c.ip(f"link set gre1 netns {b.name}")
        b.ip(f"addr add {INNER_B}/30 dev gre1", "link set gre1 up")
        with beside(a, b), explain_drop(b) as session:
            a.send("va", gre_packet(A, B, key=5), times=SENT)
            moved = only(session)
            assert (moved["cause"], moved["tunnel"]) == ("wrong-netns", "gre1")
            assert "made in another namespace" in moved["summary"]
            with session.quiet():
                b.shell(moved["fix"][0]["command"])
                b.ip(f"addr add {INNER_B}/30 dev gre1")
                assert a.ping(INNER_B)
        b.ip("link del gre1")
        tunnel_b(c, "key 5")
        with explain_drop(b) as session, explain_drop(c) as there:
            b.shell(report["fix"][0]["command"])
            c.ip(f"addr add {INNER_B}/30 dev gre1")
            assert a.ping(INNER_B)
            assert session.stop() == 0, session.stdout
            assert there.stop() == 0, there.stdout


def test_the_fallback_device():
    """It takes what no tunnel takes; set down, it lets the cause be seen."""
    wrong = gre_packet(A, B, key=2, payload=NOT_OURS)
    refused = gre_packet(A, B, key=2, payload=NOT_OURS, checksum=True)
    over_ipv6 = ipv6(A6, B6, 47, gre(NOT_OURS, key=2))
    with pair6() as (a, b):
        tunnel_b(b, "key 1")
        tunnel(b, f"local {B6} remote {A6} key 1", kind="ip6gre", name="six")
        b.ip("link set gre0 up", "link set ip6gre0 up")
        with beside(a, b), explain_drop(b) as session:
            for packet in (wrong, refused, over_ipv6):
                a.send("va", packet, times=SENT)
            session.wait_for_packets(3 * SENT)
            taken = session.reports
            assert {(r["cause"], r["count"]) for r in taken} == {("fallback-taken", SENT)}
            by_tunnel = {r["tunnel"]: r for r in taken}
            # Only where it was refused the outer header is still there to tell who was meant.
            assert set(by_tunnel) == {"gre0", "gre1", "ip6gre0"}
            assert by_tunnel["gre1"]["kernel"]["function"] == "ip_tunnel_rcv"
            assert by_tunnel["gre0"]["iif"] == "gre0"
            for device in ("gre0", "ip6gre0"):
                assert by_tunnel[device]["fix"][0]["command"] == f"ip link set dev {device} down"
                b.shell(by_tunnel[device]["fix"][0]["command"])
            a.send("va", wrong, times=SENT)
            a.send("va", over_ipv6, times=SENT)
            session.wait_for_packets(5 * SENT)
            assert session.stop() == 3
        seen = {(r["cause"], r["tunnel"]): r["count"] for r in session.reports if r not in taken}
        assert seen == {("key-mismatch", "gre1"): SENT, ("key-mismatch", "six"): SENT}


@dataclass(frozen=True)
class Fault:
    """A packet over IPv6, and B's tunnel to its sender; keys tell the faults apart."""

    cause: str
    key: int | None  # of the packet
    attributes: str | None  # of the tunnel; None: there is none
    kind: str = "ip6gre"
    up: bool = True
    local: str = B6
    moved: int = 0  # how far the sender is from where the tunnel expects it
    protocol: int = 0x0800
    function: str = "gre_rcv"
    confidence: str = "certain"

    def packet(self, peer):
        payload = FRAME if self.protocol == TEB else udp("10.10.10.2", INNER_B)
        return ipv6(peer, self.local, 47, gre(payload, key=self.key, protocol=self.protocol))


FAULTS = (
    Fault("key-mismatch", 11, "key 10"),
    Fault("key-mismatch", 14, "key 13", kind="ip6gretap", protocol=TEB),
    # Any tunnel without a key may be meant for a packet without one, from another peer.
    Fault("key-missing", None, "key 20", confidence="likely"),
    Fault("key-unexpected", 30, ""),
    Fault("local-mismatch", 40, "key 40", local=OTHER_B6),
    Fault("nat-remote", 50, "key 50", moved=1, confidence="likely"),
    Fault("tunnel-down", 60, "key 60", up=False),
    Fault("wrong-type", 70, "key 70", kind="ip6gretap"),
    Fault("wrong-type", 75, "key 75", protocol=TEB, function="__netif_receive_skb_core"),
    Fault("no-tunnel", 80, None),
)


def test_over_ipv6():
    with pair6() as (a, b):
        lines = [f"addr add {OTHER_B6}/64 dev vb nodad", f"addr add {INNER_B}/32 dev lo"]
        packets = []
        for number, fault in enumerate(FAULTS):
            expected = f"fd00::1:{number:x}"
            packets.append(fault.packet(f"fd00::1:{number + 0x100 * fault.moved:x}"))
            if fault.attributes is not None:
                attributes = f"local {B6} remote {expected} {fault.attributes}"
                lines.append(f"link add t{number} type {fault.kind} {attributes} hoplimit 9")
                lines += [f"link set t{number} up"] if fault.up else []
        b.ip(*lines)
        with explain_drop(b) as session:
            for packet in packets:
                a.send("va", packet, times=SENT)
            session.wait_for_packets(SENT * len(FAULTS))
            reports = {(r["cause"], r["key"]): r for r in session.reports}
            assert len(reports) == len(session.reports) == len(FAULTS), session.stdout
            commands = []
            for number, fault in enumerate(FAULTS):
                report = reports[fault.cause, fault.key]
                check(report, fault, f"t{number}")
                commands.append(report["fix"][0]["command"])
            b.shell(" && ".join(commands))
            before = received(b)
            with session.quiet():
                for packet in packets:
                    a.send("va", packet)
            assert received(b) == before + len(FAULTS)


def check(report, fault, name):
    assert report["count"] == SENT
    assert report["tunnel"] == (None if fault.attributes is None else name), report
    assert report["kernel"]["function"] == fault.function
    assert (report["family"], report["confidence"]) == (6, fault.confidence), report


def received(host):
    """What all tunnels together have received."""
    return sum(received for name, (received, _) in host.counters().items() if name[0] in "tg")
