# SPDX-License-Identifier: GPL-2.0-only
"""Echo requests of this process, where all that is asked is whether they are answered.

A real `ping` has to be started, and waits; it stays where a person's ping is the point.
"""

import secrets
import select
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from gretrace.host.namespaces import entered
from gretrace.wire.packet import internet_checksum
from tests.lab.journal import note

PATIENCE = 10  # seconds; an answer that comes takes milliseconds
# uapi/linux/in.h and in6.h, which have the same values for both families
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 10, 23
DONT_FRAGMENT = {"dont": 0, "want": 1, "do": 2}  # as ping's -M has them
# Request and answer.
TYPES = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}


@dataclass(frozen=True)
class Ping:
    """Echo requests from a host; `size` is of what they carry, in bytes.

    `may_fail` of them need no answer: the first that is too long only tells how long they may be.
    """

    host: object
    address: str
    count: int = 1
    size: int = 56
    fragment: str = "want"
    device: str | None = None
    may_fail: int = 0
    number: int = field(default_factory=lambda: secrets.randbits(16))

    @property
    def family(self):
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET

    @property
    def to(self):
        """Where to, as a socket is told."""
        address, _, device = self.address.partition("%")
        if not device:
            return (address, 0)
        with entered(self.host.namespace):
            return (address, 0, 0, socket.if_nametoindex(device))

    def open(self):
        """Open a socket in the host."""
        is_ipv6 = self.family == socket.AF_INET6
        protocol = socket.IPPROTO_ICMPV6 if is_ipv6 else socket.IPPROTO_ICMP
        with entered(self.host.namespace):
            raw = socket.socket(self.family, socket.SOCK_RAW, protocol)
        raw.setblocking(False)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        level, option = (
            (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER)
            if is_ipv6
            else (socket.IPPROTO_IP, IP_MTU_DISCOVER)
        )
        raw.setsockopt(level, option, DONT_FRAGMENT[self.fragment])
        if self.device:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.device.encode())
        return raw

    def request(self, sequence):
        """One echo request; of IPv6 the kernel fills in the checksum."""
        kind = TYPES[self.family][0]
        rest = self.number.to_bytes(2, "big") + sequence.to_bytes(2, "big") + bytes(self.size)
        checksum = internet_checksum(bytes([kind, 0, 0, 0]) + rest)
        return bytes([kind, 0]) + checksum.to_bytes(2, "big") + rest

    def answered(self, packet):
        """The number of the request that a packet is the answer to, or None."""
        if self.family == socket.AF_INET:
            packet = packet[4 * (packet[0] & 15) :]
        is_mine = packet[0] == TYPES[self.family][1] and packet[4:6] == self.number.to_bytes(2)
        return int.from_bytes(packet[6:8]) if is_mine else None


def ping_all(pings, patience=PATIENCE):
    """Send all at once; returns of each whether it was answered in time."""
    with ExitStack() as stack:
        sent = [_Sent(ping, stack.enter_context(ping.open())) for ping in pings]
        deadline = time.monotonic() + patience
        while not all(one.is_answered for one in sent):
            heard, _, _ = select.select(sent, [], [], max(0, deadline - time.monotonic()))
            for one in heard:
                one.hear()
            if not heard and time.monotonic() >= deadline:
                break
        for one in sent:
            one.tell()
        return [one.is_answered for one in sent]


class _Sent:
    """The requests of a Ping, sent, and which of them are not answered yet."""

    def __init__(self, ping, raw):
        self._ping, self._raw = ping, raw
        self._missing = set(range(1, ping.count + 1))
        self._refused = []
        for sequence in sorted(self._missing):
            try:
                raw.sendto(ping.request(sequence), ping.to)
            except OSError as error:
                # Lost like one that dies on its way.
                self._refused.append(str(error))

    def fileno(self):
        return self._raw.fileno()

    @property
    def is_answered(self):
        return len(self._missing) <= self._ping.may_fail

    def hear(self):
        self._missing.discard(self._ping.answered(self._raw.recv(1 << 16)))

    def tell(self):
        ping = self._ping
        said = [*self._refused, f"{ping.count - len(self._missing)} of {ping.count} answered"]
        done = f"ping -c {ping.count} -s {ping.size} -M {ping.fragment} {ping.address}"
        note(ping.host.name, done, "\n".join(said))
