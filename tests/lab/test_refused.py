# SPDX-License-Identifier: GPL-2.0-only
"""Packets that no tunnel is looked up for, and packets that the tunnel refuses.

Every fault has a peer of its own, so that all of them are broken, seen and mended at once.
"""

import socket
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from gretrace.host.namespaces import entered
from tests.frames import answer, gre, gre_packet, ipv4, ipv6, udp
from tests.lab.bystander import beside
from tests.lab.hosts import INNER_B, A, B, hosts, pair, run, tunnel, wire
from tests.lab.recorded import recorded
from tests.lab.session import explain_drop

A6, B6 = "fd00::2", "fd00::1"
GROUP = "239.1.1.1"
TEB = 0x6558
GRE = 47
SENT = 3
FRAME = b"\xff" * 6 + b"\x02\0\0\0\0\1" + b"\x08\x00" + udp("10.10.10.2", INNER_B)


@dataclass(frozen=True)
class Fault:
    """A packet of a peer's, and B's tunnel to it."""

    cause: str
    packet: bytes  # from A; each fault then gets a peer of its own
    function: str
    attributes: str | None = None  # of the tunnel; None: there is none
    kind: str = "gre"
    where: str = "here"
    command: str | None = None  # what the command has that mends it
    first: bytes | None = None  # what is received before it
    confidence: str = "certain"
    is_named: bool = True  # the tunnel


def broken(packet):
    return packet[:-1] + bytes([packet[-1] ^ 1])


def inner(tos=0):
    return udp("10.10.10.2", INNER_B, tos=tos)


def four(payload=None, **header):
    return gre_packet(A, B, inner() if payload is None else payload, **header)


def six(payload=None, *, ce=False, **header):
    packet = ipv6(A6, B6, 47, gre(inner() if payload is None else payload, **header))
    # The traffic class lies across the first two bytes; its last two bits are ECN's.
    return packet[:1] + bytes([packet[1] | 0x30 * ce]) + packet[2:]


FAULTS = {
    "checksum, not expected": Fault(
        "checksum-policy", four(checksum=True), "ip_tunnel_rcv", "", command=" icsum"
    ),
    "checksum, missing": Fault(
        "checksum-policy", four(), "ip_tunnel_rcv", "csum", command=" noicsum"
    ),
    "checksum, gretap": Fault(
        "checksum-policy",
        four(FRAME, protocol=TEB),
        "ip_tunnel_rcv",
        "icsum",
        kind="gretap",
        command=" noicsum",
    ),
    "sequence, missing": Fault(
        "sequence-policy", four(), "ip_tunnel_rcv", "seq", command=" noiseq"
    ),
    "sequence, gretap": Fault(
        "sequence-policy",
        four(FRAME, protocol=TEB),
        "ip_tunnel_rcv",
        "iseq",
        kind="gretap",
        command=" noiseq",
    ),
    "sequence, old": Fault(
        "sequence-old",
        four(sequence=3),
        "ip_tunnel_rcv",
        "iseq",
        first=four(sequence=9),
        command=" noiseq",
    ),
    "congestion": Fault("ecn", four(tos=3), "ip_tunnel_rcv", "", where="path"),
    "congestion, gretap": Fault(
        "ecn", four(FRAME, protocol=TEB, tos=3), "ip_tunnel_rcv", "", kind="gretap", where="path"
    ),
    "cut": Fault("truncated-inner", four(inner()[:12]), "ip_tunnel_rcv", "", where="peer"),
    "cut, gretap": Fault(
        "truncated-inner",
        four(FRAME[:30], protocol=TEB),
        "ip_tunnel_rcv",
        "",
        kind="gretap",
        where="peer",
    ),
    "cut, before the EtherType": Fault(
        "truncated-inner",
        four(FRAME[:13], protocol=TEB),
        "__ipgre_rcv",
        "",
        kind="gretap",
        where="peer",
    ),
    "cut, behind its header": Fault(
        "truncated-inner", four(inner()[:-1]), "ip_rcv_core", "", where="peer"
    ),
    "bare answer": Fault("malformed-gre", answer(A, B), "gre_rcv", "", is_named=False),
    "bare answer, keyed": Fault("malformed-gre", answer(A, B, key=1), "gre_rcv", is_named=False),
    "short": Fault(
        "malformed-gre", ipv4(A, B, 47, gre(b"xyz")), "gre_rcv", where="peer", is_named=False
    ),
    "routing": Fault(
        "malformed-gre", four(flags=0x4000), "gre_rcv", "", where="peer", is_named=False
    ),
    "reserved bits": Fault(
        "malformed-gre", four(flags=0x08), "gre_rcv", "", where="peer", is_named=False
    ),
    "fields beyond the end": Fault(
        "malformed-gre",
        ipv4(A, B, 47, bytes.fromhex("b0000800") + bytes(8)),
        "gre_rcv",
        "",
        where="peer",
        is_named=False,
    ),
    "version 1": Fault("unsupported-version", four(flags=0x2081), "gre_rcv", is_named=False),
    "version 5": Fault(
        "unsupported-version", four(flags=5), "gre_rcv", "", where="peer", is_named=False
    ),
    "checksum, wrong": Fault(
        "bad-checksum",
        broken(four(checksum=True)),
        "gre_rcv",
        "icsum",
        where="path",
        is_named=False,
    ),
    "checksum, wrong and long": Fault(
        "bad-checksum",
        broken(four(udp("10.10.10.2", INNER_B, bytes(300)), checksum=True)),
        "gre_rcv",
        "icsum",
        where="path",
        confidence="likely",
    ),
}

FAULTS_6 = {
    "checksum, not expected": Fault(
        "checksum-policy", six(checksum=True), "ip6_tnl_rcv", "", command=" icsum"
    ),
    "checksum, missing": Fault(
        "checksum-policy", six(), "ip6_tnl_rcv", "icsum", command=" noicsum"
    ),
    "sequence, missing": Fault("sequence-policy", six(), "ip6_tnl_rcv", "iseq", command=" noiseq"),
    "sequence, old": Fault(
        "sequence-old",
        six(sequence=3),
        "ip6_tnl_rcv",
        "iseq",
        first=six(sequence=9),
        command=" noiseq",
    ),
    "congestion": Fault("ecn", six(ce=True), "ip6_tnl_rcv", "", where="path"),
    "congestion, ip6gretap": Fault(
        "ecn",
        six(FRAME, protocol=TEB, ce=True),
        "ip6_tnl_rcv",
        "",
        kind="gretap",
        where="path",
    ),
    "cut": Fault("truncated-inner", six(inner()[:12]), "ip6_tnl_rcv", "", where="peer"),
    "cut, before the EtherType": Fault(
        "truncated-inner",
        six(FRAME[:13], protocol=TEB),
        "gre_rcv",
        "",
        kind="gretap",
        where="peer",
    ),
    "routing": Fault(
        "malformed-gre", six(flags=0x4000), "gre_rcv", "", where="peer", is_named=False
    ),
    "version 1": Fault("unsupported-version", six(flags=1), "gre_rcv", "", is_named=False),
    "checksum, wrong": Fault(
        "bad-checksum", broken(six(checksum=True)), "gre_rcv", "icsum", where="path", is_named=False
    ),
}


@pytest.fixture
def pair6():
    """Two routers on one wire of IPv6."""
    with hosts("a", "b") as (a, b):
        for host in (a, b):
            host.sysctl("net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0")
        wire(a, "va", f"{A6}/64 nodad", b, "vb", f"{B6}/64 nodad")
        for host in (a, b):
            host.sysctl("net.ipv6.conf.default.disable_ipv6=1")
        yield a, b


@dataclass(frozen=True)
class Broken:
    """A fault as it was put into B."""

    fault: Fault
    peer: str
    name: str

    def sent(self, packet):
        """The packet, from this peer."""
        source = ip_address(self.peer).packed
        if len(source) == 16:
            return packet[:8] + source + packet[24:]
        return ipv4(self.peer, B, 47, packet[20:], tos=packet[1])

    @property
    def is_mended_here(self):
        return self.fault.where == "here" and self.fault.command is not None


def break_all(b, faults, *, network, local):
    made = []
    lines = [f"addr add {INNER_B}/32 dev lo"]
    for number, fault in enumerate(faults.values()):
        peer, name = f"{network}{10 + number}", f"t{number}"
        made.append(Broken(fault, peer, name))
        if fault.attributes is None:
            continue
        kind = fault.kind if local == B else f"ip6{fault.kind}"
        lines += [
            f"link add {name} type {kind} local {local} remote {peer} {fault.attributes} ttl 255",
            f"link set {name} up",
        ]
    b.ip(*lines)
    return made


def see_all(session, a, made, *, more=None):
    """Send every fault; returns the reports by peer."""
    for one in made:
        if one.fault.first:
            a.send("va", one.sent(one.fault.first))
        a.send("va", one.sent(one.fault.packet), times=SENT)
    extra = more() if more else 0
    session.wait_for_packets(SENT * len(made) + extra)
    reports = {report["remote"]: report for report in session.reports}
    assert len(reports) == len(session.reports), session.stdout
    return reports


def check(one, report):
    fault = one.fault
    assert (report["cause"], report["count"]) == (fault.cause, SENT), report
    # A compiler may have put the one into the other.
    functions = (fault.function, f"__{fault.function}")
    assert report["kernel"]["function"] in functions, report
    assert report["local"] == (B6 if report["family"] == 6 else B), report
    assert report["tunnel"] == (one.name if fault.is_named else None), report
    assert report["confidence"] == fault.confidence, report
    fix = report["fix"][0]
    assert fix["where"] == fault.where, report
    if fault.command:
        assert fix["command"].startswith("ip link change")
        assert fault.command in fix["command"]


def mend_all(session, a, b, made, reports, more=None):
    """What is printed makes B take the same packets, and nothing is reported any more."""
    mended = [one for one in made if one.is_mended_here]
    b.shell(" && ".join(reports[one.peer]["fix"][0]["command"] for one in mended))
    before = {one.name: b.received(one.name) for one in mended}
    with session.quiet():
        for one in mended:
            a.send("va", one.sent(one.fault.packet))
        if more:
            more()
    for one in mended:
        assert b.received(one.name) == before[one.name] + 1, one


def loop_back(b):
    """A program of B sends GRE to a group that B's tunnel has joined; returns how often."""
    tunnel(b, f"local {B} remote {GROUP} dev vb", name="many")
    send_to_group(b)
    return SENT


def send_to_group(b, *, loop=1):
    with entered(b.namespace), socket.socket(socket.AF_INET, socket.SOCK_RAW, GRE) as raw:
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(B))
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, loop)
        for _ in range(SENT):
            raw.sendto(gre(inner()), (GROUP, 0))


def test_ipv4():
    with pair() as (a, b):
        made = break_all(b, FAULTS, network="20.1.1.", local=B)
        with beside(a, b), recorded(b) as capture, explain_drop(b) as session:
            reports = see_all(session, a, made, more=lambda: loop_back(b))
            capture.agrees_with(session.reports)
            for one in made:
                check(one, reports[one.peer])
            looped = reports[B]
            assert (looped["cause"], looped["count"]) == ("multicast-loop", SENT)
            assert (looped["local"], looped["tunnel"]) == (GROUP, "many")
            assert looped["kernel"]["function"] == "gre_rcv"
            assert "IP_MULTICAST_LOOP 0" in looped["fix"][0]["note"]
            mend_all(session, a, b, made, reports, lambda: send_to_group(b, loop=0))


def test_ipv6(pair6):
    a, b = pair6
    made = break_all(b, FAULTS_6, network="fd00::", local=B6)
    with beside(a, b), recorded(b) as capture, explain_drop(b) as session:
        reports = see_all(session, a, made)
        capture.agrees_with(session.reports)
        for one in made:
            check(one, reports[one.peer])
        mend_all(session, a, b, made, reports)


def test_only_a_new_tunnel_forgets_the_last_number():
    """What the second fix of sequence-old says."""
    old = gre_packet(A, B, inner(), sequence=3)
    with pair() as (a, b):
        tunnel(b, f"local {B} remote {A} seq")

        def is_taken():
            before = b.received("gre1")
            a.send("va", old)
            return b.received("gre1") > before

        a.send("va", gre_packet(A, B, inner(), sequence=9))
        assert not is_taken()
        b.ip("link set gre1 down", "link set gre1 up")
        assert not is_taken()
        b.ip(f"link change gre1 type gre local {B} remote {A} noseq")
        assert is_taken()
        b.ip(f"link change gre1 type gre local {B} remote {A} seq")
        assert not is_taken()
        b.ip("link del gre1")
        tunnel(b, f"local {B} remote {A} seq")
        assert is_taken()


def test_no_module():
    """First the demultiplexer alone is left, then nothing, in both families."""
    over_ipv6 = ipv6(A6, B6, 47, gre(inner()))
    with pair() as (a, b):
        for host, device, address in ((a, "va", A6), (b, "vb", B6)):
            host.sysctl(f"net.ipv6.conf.{device}.disable_ipv6=0")
            host.ip(f"addr add {address}/64 dev {device} nodad")
        try:
            run("rmmod", "ip6_gre", "ip_gre")
            with explain_drop(b) as session:
                a.send("va", four(), times=SENT)
                a.send("va", over_ipv6, times=SENT)
                session.wait_for_packets(2 * SENT)
                run("rmmod", "gre")
                a.send("va", four(), times=SENT)
                session.wait_for_packets(3 * SENT)
                reports = session.reports
                assert {report["cause"] for report in reports} == {"no-gre-module"}
                seen = [(r["remote"], r["count"], r["kernel"]["reason"]) for r in reports]
                assert sorted(seen) == [
                    (A, SENT, "IP_NOPROTO"),
                    (A, SENT, "NOT_SPECIFIED"),
                    (A6, SENT, "IP_NOPROTO"),
                ]
                commands = {report["fix"][0]["command"] for report in reports}
                assert commands == {"modprobe ip_gre", "modprobe ip6_gre"}
                b.shell(" && ".join(commands))
                b.ip(f"addr add {INNER_B}/32 dev lo")
                tunnel(b, f"local {B} remote {A}")
                tunnel(b, f"local {B6} remote {A6}", kind="ip6gre", name="six")
                with session.quiet():
                    a.send("va", four())
                    a.send("va", over_ipv6)
                assert (b.received("gre1"), b.received("six")) == (1, 1)
        finally:
            run("modprobe", "-a", "ip_gre", "ip6_gre")
