# SPDX-License-Identifier: GPL-2.0-only
"""Each packet is delivered, or reported once: held against a witness that knows no gretrace.

Packets of protocol 47 carry a number each. A socket tells which were delivered, the kernel's own
tracing which were dropped and where, and gretrace must have told the same of every one.
"""

import random
import re
import socket
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytest

from gretrace.host.namespaces import entered
from gretrace.wire.packet import internet_checksum
from tests.frames import gre, ipv4, ipv6, udp
from tests.lab.hosts import INNER_A, INNER_B, A, B, pair
from tests.lab.session import explain_drop
from tests.lab.witness import freed_packets

PACKETS = 400
SEED = 20
A6, B6 = "fd00::2", "fd00::1"
GRE, OSPF, TEB = 47, 89, 0x6558
MAC = "02:00:00:00:00:66"
SHARED = 6  # sources that many packets come from; others come from one of their own
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
BY_DESIGN = re.compile(r"(\d+) packets? (?:was|were) freed by design: to groups")

TUNNELS = (
    "gre1 type gre local {B} key 1",
    "gre2 type gre local {B} key 2 csum",
    "gre3 type gre local {B} key 3 seq",
    "gre4 type gre local {B} remote {A} key 4",
    "gre5 type gre local {B}",
    "gre6 address {MAC} type gretap local {B} key 6",
    "gre7 type gre local {B} key 7",  # which stays down
    "gre8 type ip6gre local {B6} key 8",
    "gre9 type ip6gre local {B6} remote {A6} key 9 icsum",
)


# Where a packet dies that no tunnel has taken yet; behind them it is an inner one.
OUTER = ("gre_rcv", "ip_tunnel_rcv", "ip6_tnl_rcv", "__ip6_tnl_rcv", "__iptunnel_pull_header")
# The groups that nobody here has joined: freed by design.
GROUP = "224.0.0.5"
UNJOINED = "ip_rcv_finish_core"


@dataclass(frozen=True)
class Sent:
    """A packet, and what of it a report names."""

    packet: bytes
    source: str
    tunnel: str  # that it is meant for, if there is such a one
    is_greeting: bool

    def is_by_design(self, function):
        """Whether that function frees it as it should."""
        return self.is_greeting and function == UNJOINED

    def reported_of(self, function):
        """Name whose a report of a drop in that function is: a peer's, or a tunnel's behind it."""
        return self.source if function in OUTER else self.tunnel


def inner_packet(dice, number):
    """What a packet carries: the number, and a reason to be dropped behind the tunnel or none."""
    data = number.to_bytes(4, "big")
    match dice.randrange(10):
        case 0:
            return udp(INNER_A, "99.2.2.2", data)
        case 1:
            return udp(INNER_B, INNER_B, data)
        case 2:
            return udp(INNER_A, INNER_B, data)[: dice.randrange(20, 32)]
        case 3:
            return ipv4(INNER_A, GROUP, OSPF, data, ttl=1)
        case _:
            return udp(INNER_A, INNER_B, data)


def any_packet(dice, number):
    """GRE that some tunnel may take, or none, or that one refuses."""
    key = dice.choice([None, *range(10)])
    header = {"key": key, "checksum": dice.random() < 0.3}
    if key == 3 or dice.random() < 0.2:
        header["sequence"] = dice.randrange(1 << 32)
    # Many have a source of their own, and so a report.
    many = dice.choice([number + 1, *(dice.randrange(SHARED) + 0x8000 for _ in range(2))])
    payload = inner_packet(dice, number)
    is_greeting = payload[9] == OSPF
    if key == 6 or dice.random() < 0.05:
        header["protocol"] = TEB
        payload = bytes.fromhex(MAC.replace(":", "")) + b"\x02\0\0\0\0\x01\x08\0" + payload
        is_greeting &= key == 6
    packet = bytearray(gre(payload, **header))
    if header["checksum"] and dice.random() < 0.2:
        packet[4] ^= 1
    if dice.random() < 0.1:
        packet[0] ^= 0x40  # source routing, which no kernel does
    if dice.random() < 0.1:
        packet[1] ^= 1 << dice.randrange(3)  # the version
    if dice.random() < 0.05:
        del packet[dice.randrange(1, 12) :]
    is_peer = dice.random() < 0.5
    if key in {8, 9}:
        source = A6 if key == 9 and is_peer else f"fd30::{many:x}"
        outer = bytearray(ipv6(source, B6, 47, bytes(packet)))
        outer[2:4] = number.to_bytes(2, "big")  # of the flow label
    else:
        source = A if key == 4 and is_peer else f"30.0.{many >> 8}.{many & 255}"
        outer = bytearray(ipv4(source, B, 47, bytes(packet)))
        outer[4:6] = number.to_bytes(2, "big")
        outer[10:12] = bytes(2)
        outer[10:12] = internet_checksum(bytes(outer[:20])).to_bytes(2, "big")
    return Sent(bytes(outer), source, f"gre{5 if key is None else key}", is_greeting)


def number_of(addresses, buffer):
    """Which packet a buffer was made for, behind these Ethernet addresses; None if it is not."""
    start = buffer.find(addresses)
    frame = buffer[start + len(addresses) :] if start >= 0 else bytes(64)
    packet = frame[2:]
    match frame[:2]:
        case b"\x08\x00" if packet[9] == GRE:
            return int.from_bytes(packet[4:6], "big")
        case b"\x86\xdd" if packet[6] == GRE:
            return int.from_bytes(packet[2:4], "big")
    return None


@contextmanager
def delivered(host):
    """Return what counts the numbers that have arrived."""
    with entered(host.namespace):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver:
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
        receiver.bind(("", 9))
        receiver.setblocking(False)

        def count():
            found = Counter()
            while True:
                try:
                    found[int.from_bytes(receiver.recv(64), "big")] += 1
                except BlockingIOError:
                    return found

        yield count


def make_tunnels(a, b):
    for host, address in ((a, A6), (b, B6)):
        device = f"v{'a' if host is a else 'b'}"
        host.sysctl(f"net.ipv6.conf.{device}.disable_ipv6=0")
        host.ip(f"addr add {address}/64 dev {device} nodad")
    b.ip(
        f"addr add {INNER_B}/32 dev lo",
        f"route add 30.0.0.0/8 via {A}",
        *(f"link add {line.format(A=A, B=B, A6=A6, B6=B6, MAC=MAC)}" for line in TUNNELS),
    )
    names = [line.split()[0] for line in TUNNELS]
    b.ip(*(f"link set {name} up" for name in names if name != "gre7"))
    b.sysctl(*(f"net.ipv4.conf.{of}.rp_filter=0" for of in ("all", "vb", *names)))


@pytest.fixture(scope="module")
def told():
    dice = random.Random(SEED)
    sent = [any_packet(dice, number) for number in range(PACKETS)]
    with pair() as (a, b):
        make_tunnels(a, b)
        with (
            delivered(b) as arrived,
            freed_packets() as freed,
            explain_drop(b, "-v") as session,
        ):
            send = a.sender("va")
            for one in sent:
                send(one.packet)
            dropped = freed.told(partial(number_of, a.wires["va"]))
            came = arrived()
            faults = sum(n for who, n in dropped.items() if not is_by_design(sent, who))
            session.wait_for(lambda _: counted(session).total() >= faults, f"{faults} drops")
            session.stop()
    return sent, came, dropped, session


def is_by_design(sent, who):
    number, function = who
    return sent[number].is_by_design(function)


def counted(session):
    """How often each report says at last that its packets were dropped: whose, and where."""
    said = Counter()
    for report in {record["id"]: record for record in session.records}.values():
        of = report["remote"] if report["iif"] == "vb" else report["iif"]
        said[of, report["kernel"]["function"]] += report["count"]
    return said


def test_each_is_delivered_or_dropped_once(told):
    _, came, dropped, _ = told
    ends = came + Counter(number for number, _ in dropped.elements())
    assert ends == Counter(range(PACKETS))
    assert min(len(came), len(dropped)) > PACKETS / 10


def test_each_dropped_packet_is_reported_once(told):
    sent, _, dropped, session = told
    seen = Counter()
    for (number, function), count in dropped.items():
        if not is_by_design(sent, (number, function)):
            seen[sent[number].reported_of(function), function] += count
    assert counted(session) == seen


def test_a_report_is_of_one_tunnel_and_peer_in_all_its_lines(told):
    _, _, _, session = told
    same = ("cause", "tunnel", "iif", "remote", "local", "key", "kernel")
    lines = {str([record["id"], *(record[name] for name in same)]) for record in session.records}
    assert len(lines) == len({record["id"] for record in session.records})


def test_what_is_freed_by_design_is_counted(told):
    sent, _, dropped, session = told
    by_design = sum(n for who, n in dropped.items() if is_by_design(sent, who))
    assert [by_design] == [int(count) for count in BY_DESIGN.findall(session.stderr)]
    assert by_design
