# SPDX-License-Identifier: GPL-2.0-only
"""Routers in network namespaces, wired as a test needs them.

iproute2 sets them up, by one `ip -batch` for each host that stays; what the kernel takes as a
write to a file or a socket is done so.
"""

import array
import fcntl
import secrets
import socket
import struct
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gretrace.host.namespaces import entered, find_namespace
from gretrace.host.netlink import Links
from tests.children import Child
from tests.lab.batch import Batch
from tests.lab.journal import host_is_gone, note
from tests.lab.netns import named_namespace, write_sysctl
from tests.lab.ping import PATIENCE, Ping, ping_all

A, B = "20.1.1.2", "20.1.1.1"
# uapi/linux/sockios.h and ethtool.h
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
IFF_RUNNING = 0x40  # uapi/linux/if.h
INNER_A, INNER_B = "10.10.10.2", "10.10.10.1"
# Seconds; an emulated machine is slow.
PATIENCE_OF_A_COMMAND = 300
TOLD = 5  # of the lines that ip refused
LOOKS = 600  # at a wire that comes up: half a minute at least


def run(*command, check=True, stdin=None, host=None):
    """Run a command, in a host or here; what it says is part of the failure."""
    pipe = subprocess.PIPE
    started = start(*command, host=host, stdin=pipe, stdout=pipe, stderr=pipe)
    with started as process:
        said, complaint = process.communicate(stdin)
    note(host.name if host else None, " ".join(command), said + complaint)
    done = subprocess.CompletedProcess(command, process.returncode, said, complaint)
    if check and done.returncode:
        message = f"{' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}"
        raise AssertionError(message)
    return done


def start(*command, host=None, **streams):
    """Start a command, in a host or here, as subprocess.Popen does."""
    if host is None:
        return Child(command, patience=PATIENCE_OF_A_COMMAND, text=True, **streams)
    with entered(host.namespace):
        return Child(command, patience=PATIENCE_OF_A_COMMAND, text=True, **streams)


@dataclass(frozen=True)
class Host:
    """A namespace with a name that nobody else has."""

    name: str
    wires: dict[str, bytes] = field(
        default_factory=dict
    )  # both Ethernet addresses, to the neighbour
    _senders: dict[str, socket.socket] = field(default_factory=dict)

    @cached_property
    def namespace(self):
        return find_namespace(self.name)

    @cached_property
    def _batch(self):
        return Batch("-n", self.name)

    @property
    def pid(self):
        """A process that is in this namespace, as long as the host is there."""
        return self._batch.pid

    def close(self):
        self._batch.close()
        while self._senders:
            self._senders.popitem()[1].close()

    def ip(self, *lines):
        """Run lines of iproute2's batch mode; returns what they showed."""
        prefix = f"ip -n {self.name}"
        shown, refusals = self._batch.run(lines)
        said = "".join(f"line {r.number}, {r.line!r}: {r.said}\n" for r in refusals[:TOLD])
        note(self.name, "\n".join(f"{prefix} {line}" for line in lines), shown + said)
        if refusals:
            message = f"{prefix} -batch: {len(refusals)} of {len(lines)} lines: {said.rstrip()}"
            raise AssertionError(message)
        return shown

    def try_ip(self, *lines):
        """Run lines of iproute2's batch mode, whether it refuses some or not."""
        self._batch.run(lines)

    def run(self, *command, **more):
        return run(*command, host=self, **more)

    def start(self, *command, **streams):
        return start(*command, host=self, **streams)

    def shell(self, command):
        """Run a command as a person would type it."""
        return self.run("sh", "-c", command)

    def sysctl(self, *settings):
        """Write settings, as `name=value`."""
        with entered(self.namespace):
            for setting in settings:
                note(self.name, f"sysctl -w {setting}")
                write_sysctl(*setting.split("="))

    def ping(self, address, count=1, *, patience=PATIENCE, **more):
        """Whether all of `count` echo requests were answered within `patience` seconds."""
        (is_answered,) = ping_all([Ping(self, address, count, **more)], patience)
        return is_answered

    def send_pings(self, address, count=1, **more):
        """Send `count` echo requests that are not expected to be answered."""
        ping_all([Ping(self, address, count, **more)], patience=0)

    def finish_checksums(self, device):
        """Have checksums on the wire that a network card would otherwise still fill in."""
        command = array.array("B", struct.pack("=II", ETHTOOL_STXCSUM, 0))
        request = struct.pack("16sP", device.encode(), command.buffer_info()[0])
        with entered(self.namespace), socket.socket() as any_socket:
            fcntl.ioctl(any_socket, SIOCETHTOOL, request)

    def index(self, device):
        """The index of a device."""
        with entered(self.namespace):
            return socket.if_nametoindex(device)

    def is_running(self, device):
        """Whether a device has a carrier, as far as the kernel has seen it.

        Not asked of ip's batch mode, which remembers the index of every device that it showed:
        of one that is made anew by that name it would say that it is not found.
        """
        index = self.index(device)
        with entered(self.namespace):
            links = Links()
        try:
            link = links.get(index)
        finally:
            links.close()
        return bool(link and link.flags & IFF_RUNNING)

    def received(self, device):
        """How many packets a device has received."""
        return self.counters()[device][0]

    def sent(self, device):
        """How many packets a device has sent."""
        return self.counters()[device][1]

    def counters(self):
        """How many packets each device has received and sent."""
        with entered(self.namespace):
            lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
        rows = {name.strip(): row.split() for name, _, row in (li.partition(":") for li in lines)}
        return {name: (int(row[1]), int(row[9])) for name, row in rows.items()}

    def send(self, device, packet, times=1):
        """Put an IP packet on the wire as it is, `times` times."""
        note(self.name, f"send by {device}, {times} times {len(packet)} bytes: {packet[:96].hex()}")
        send = self.sender(device)
        for _ in range(times):
            send(packet)

    def attach(self, device, addresses):
        """Know a wire, in place of one whose device had this name before."""
        self.wires[device] = addresses
        if before := self._senders.pop(device, None):
            before.close()

    def sender(self, device):
        """Return what puts an IP packet on the wire.

        The socket stays open as long as the host, since the kernel waits for RCU when one is
        closed; bound to no protocol, it gets nothing that comes back.
        """
        if device not in self._senders:
            with entered(self.namespace):
                wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._senders[device] = wire
            wire.bind((device, 0))
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        wire = self._senders[device]
        types = {4: b"\x08\x00", 6: b"\x86\xdd"}
        return lambda packet: wire.send(self.wires[device] + types[packet[0] >> 4] + packet)


@contextmanager
def hosts(*roles):
    """Make a namespace for each role; none is left behind."""
    tag = secrets.token_hex(3)
    with ExitStack() as stack:
        made = []
        for role in roles:
            host = Host(f"{role}-{tag}")
            stack.callback(host_is_gone, host.name)
            stack.enter_context(named_namespace(host.name))
            stack.callback(host.close)
            made.append(host)
        yield made


def wire(left, left_device, left_address, right, right_device, right_address):
    """Join two hosts by a veth pair, with addresses."""
    left_mac, right_mac = (b"\x02" + secrets.token_bytes(5) for _ in range(2))
    left.attach(left_device, right_mac + left_mac)
    right.attach(right_device, left_mac + right_mac)
    left.ip(
        # By its name, ip would hold the namespace open.
        f"link add {left_device} address {left_mac.hex(':')} type veth "
        f"peer name {right_device} netns {right.pid} address {right_mac.hex(':')}",
        f"addr add {left_address} dev {left_device}",
        f"link set {left_device} up",
    )
    right.ip(f"addr add {right_address} dev {right_device}", f"link set {right_device} up")
    # The carrier came when the other end was set up; until a worker of the kernel has seen it
    # (linkwatch_do_dev()), what is sent is dropped without a word.
    for _ in range(LOOKS):
        if left.is_running(left_device):
            return
        time.sleep(0.05)
    raise AssertionError(f"{left_device} of {left.name} does not come up")


def tunnel(host, attributes, *, kind="gre", name="gre1", address=None, up=True):
    """Make a tunnel of iproute2 attributes."""
    lines = [f"link add {name} type {kind} {attributes} ttl 255"]
    if address:
        lines.append(f"addr add {address}/30 dev {name}")
    if up:
        lines.append(f"link set {name} up")
    host.ip(*lines)


@contextmanager
def pair():
    """Two routers on one wire, without tunnels yet: A (va, 20.1.1.2) and B (vb, 20.1.1.1)."""
    with hosts("a", "b") as (a, b):
        wire(a, "va", f"{A}/24", b, "vb", f"{B}/24")
        yield a, b


def tunnel_a(host, attributes="", **more):
    """A's tunnel to B."""
    tunnel(host, f"local {A} remote {B} {attributes}", address=INNER_A, **more)


def tunnel_b(host, attributes="", **more):
    """B's tunnel to A."""
    tunnel(host, f"local {B} remote {A} {attributes}", address=INNER_B, **more)
