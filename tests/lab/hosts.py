"""Routers in network namespaces, wired as a test needs them."""

import array
import fcntl
import secrets
import socket
import struct
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field

from gretrace.host.namespaces import entered, find_namespace

A, B = "20.1.1.2", "20.1.1.1"
# uapi/linux/sockios.h and ethtool.h
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
INNER_A, INNER_B = "10.10.10.2", "10.10.10.1"


def run(*command, check=True, stdin=None):
    """Run a command; what it says is part of the failure."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        message = f"{' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}"
        raise AssertionError(message)
    return done


@dataclass(frozen=True)
class Host:
    """A namespace with a name that nobody else has."""

    name: str
    wires: dict[str, bytes] = field(
        default_factory=dict
    )  # both Ethernet addresses, to the neighbour

    @property
    def namespace(self):
        return find_namespace(self.name)

    def ip(self, *lines):
        """Run lines of iproute2's batch mode."""
        run("ip", "-n", self.name, "-batch", "-", stdin="\n".join(lines) + "\n")

    def run(self, *command, check=True):
        return run("ip", "netns", "exec", self.name, *command, check=check)

    def shell(self, command):
        """Run a command as a person would type it."""
        return self.run("sh", "-c", command)

    def sysctl(self, *settings):
        self.run("sysctl", "-qw", *settings)

    def ping(self, address, count=1):
        """Whether all of `count` echo requests were answered."""
        command = ("ping", "-n", "-i", "0.2", "-W", "2", "-c", str(count), address)
        done = self.run(*command, check=False)
        return done.returncode == 0

    def finish_checksums(self, device):
        """Have checksums on the wire that a network card would otherwise still fill in."""
        command = array.array("B", struct.pack("=II", ETHTOOL_STXCSUM, 0))
        request = struct.pack("16sP", device.encode(), command.buffer_info()[0])
        with entered(self.namespace), socket.socket() as any_socket:
            fcntl.ioctl(any_socket, SIOCETHTOOL, request)

    def received(self, device):
        return int(self.shell(f"cat /sys/class/net/{device}/statistics/rx_packets").stdout)

    def send(self, device, packet, times=1):
        """Put an IP packet on the wire as it is, `times` times."""
        with self.sender(device) as send:
            for _ in range(times):
                send(packet)

    @contextmanager
    def sender(self, device):
        """Return what puts an IP packet on the wire; closing a packet socket waits for RCU."""
        with entered(self.namespace):
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with wire:
            wire.bind((device, 0x0800))
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
            types = {4: b"\x08\x00", 6: b"\x86\xdd"}
            yield lambda packet: wire.send(self.wires[device] + types[packet[0] >> 4] + packet)


@contextmanager
def hosts(*roles):
    """Make a namespace for each role; none is left behind."""
    tag = secrets.token_hex(3)
    made = [Host(f"{role}-{tag}") for role in roles]
    try:
        for host in made:
            run("ip", "netns", "add", host.name)
            # Tunnels solicit routers by themselves, which would be counted like any packet.
            host.sysctl("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
            host.ip("link set lo up")
        yield made
    finally:
        for host in made:
            run("ip", "netns", "del", host.name, check=False)


def wire(left, left_device, left_address, right, right_device, right_address):
    """Join two hosts by a veth pair, with addresses."""
    left_mac, right_mac = (b"\x02" + secrets.token_bytes(5) for _ in range(2))
    left.wires[left_device] = right_mac + left_mac
    right.wires[right_device] = left_mac + right_mac
    run(
        *("ip", "link", "add", left_device, "netns", left.name, "address", left_mac.hex(":")),
        *("type", "veth", "peer", "name", right_device, "netns", right.name),
        *("address", right_mac.hex(":")),
    )
    left.ip(f"addr add {left_address} dev {left_device}", f"link set {left_device} up")
    right.ip(f"addr add {right_address} dev {right_device}", f"link set {right_device} up")


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
