# SPDX-License-Identifier: GPL-2.0-only
"""A fault in a real kernel: what is told of it, the command that mends it, and the proof."""

import socket
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

from gretrace.host.namespaces import entered
from tests.frames import gre_packet, ipv6, udp
from tests.lab.bystander import beside
from tests.lab.hosts import INNER_A, INNER_B, A, B, pair, tunnel_a, tunnel_b
from tests.lab.session import explain_drop

SENT = 3
DISCARD = 9  # the port that frames.udp() sends to
FAR, FAR6 = "10.20.0.9", "fd20::9"
INNER_A6, INNER_B6 = "fd10::2", "fd10::1"
STRANGER = "99.9.9.9"


def inside(source=INNER_A, destination=INNER_B):
    """A GRE packet of A's that carries a packet of UDP."""
    return gre_packet(A, B, udp(source, destination))


def inside6(source=INNER_A6, destination=INNER_B6, size=8):
    """The same of IPv6, without the checksum that would make it arrive."""
    header = (4321).to_bytes(2, "big") + DISCARD.to_bytes(2, "big") + size.to_bytes(2, "big")
    packet = ipv6(source, destination, 17, header + bytes(2) + bytes(size - 8))
    return gre_packet(A, B, packet, protocol=0x86DD)


def lan(b):
    """Give B a network behind it, on a device that needs no neighbour, and no tunnel."""
    b.ip("link add lan0 type dummy", "link set lan0 up arp off", "addr add 10.20.0.1/24 dev lan0")


def with_ipv6(b):
    """Give B addresses of IPv6, on its tunnel and in the network behind it."""
    b.sysctl("net.ipv6.conf.gre1.disable_ipv6=0", "net.ipv6.conf.lan0.disable_ipv6=0")
    b.ip(f"addr add {INNER_B6}/64 dev gre1 nodad", "addr add fd20::1/64 dev lan0 nodad")


def nothing(_b):
    """Do nothing."""


@dataclass(frozen=True)
class Fault:
    """B is broken for what A sends, or for what B sends itself."""

    cause: str
    breaks: Callable = nothing  # does it to B, which has a tunnel to A and a network behind it
    packet: bytes | None = field(default_factory=inside)  # None: B pings A
    function: tuple[str, ...] = ()  # where it may die
    iif: str = "gre1"
    tunnel: str | None = "gre1"
    remote: str | None = A
    local: str | None = B
    confidence: str = "certain"
    words: tuple[str, ...] = ()  # in the summary
    evidence: tuple[str, ...] = ()  # in one of its sentences
    command: str | None = None  # what the first fix begins with; None: it has none
    where: str = "here"
    mends: Callable | None = None  # what a person does instead, told by the fix
    arrives: str | None = "here"  # where the packet goes once it is mended: here, or a device


def send(a, b, fault, times=SENT):
    if fault.packet is None:
        # Unlike a ping, nothing is sent again because it was refused.
        with entered(b.namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(times):
                try:
                    sender.sendto(b"x", (INNER_A, DISCARD))
                except PermissionError:
                    continue
    else:
        a.send("va", fault.packet, times=times)


def break_and_mend(fault):
    """Break B, read what it says, do what it advises, and see the packets arrive."""
    with pair() as (a, b):
        if fault.packet is None:
            tunnel_a(a)
        tunnel_b(b)
        b.sysctl(*(f"net.ipv4.conf.{of}.rp_filter=0" for of in ("all", "gre1", "vb")))
        lan(b)
        fault.breaks(b)
        with beside(a, b), explain_drop(b) as session:
            send(a, b, fault)
            session.wait_for_packets(SENT)
            (report,) = session.reports
            check(fault, report, b)
            fix = report["fix"][0]
            assert fix["where"] == fault.where, fix
            if fault.command:
                assert fix["command"].startswith(fault.command), fix
                shown = b.shell(fix["command"]).stdout
            else:
                assert fix["command"] is None, fix
                shown = ""
            if fault.mends:
                fault.mends(b, shown)
            with session.quiet():
                if fault.mends or fault.where == "here":
                    prove(a, b, fault)


def check(fault, report, b):
    assert report["cause"] == fault.cause, report
    assert report["count"] == SENT, report
    assert (report["remote"], report["local"]) == (fault.remote, fault.local), report
    assert (report["iif"], report["tunnel"]) == (fault.iif, fault.tunnel), report
    assert report["netns"] == b.namespace.inode
    assert report["kernel"]["function"] in fault.function, report
    assert report["confidence"] == fault.confidence, report
    for words in fault.words:
        assert words in report["summary"], report
    for words in fault.evidence:
        assert any(words in line for line in report["evidence"]), report


def prove(a, b, fault):
    """The same packets arrive."""
    if fault.packet is None:
        with receiving(a) as wait:
            send(a, b, fault)
            wait()
    elif fault.arrives == "here":
        with receiving(b) as wait:
            send(a, b, fault)
            wait()
    elif fault.arrives:
        before = b.sent(fault.arrives)
        send(a, b, fault)
        assert b.sent(fault.arrives) == before + SENT


@contextmanager
def receiving(host):
    """Return what waits until all packets have come to the discard port."""
    with entered(host.namespace):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver:
        receiver.bind(("", DISCARD))
        receiver.settimeout(10)
        yield lambda: [receiver.recv(2048) for _ in range(SENT)]
