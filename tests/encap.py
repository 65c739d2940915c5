# SPDX-License-Identifier: GPL-2.0-only
"""What bpf/xdp/encap.bpf.c is told, and what it makes of a packet."""

import ctypes
from ipaddress import ip_address

from gretrace.wire.packet import internet_checksum

# The encapsulating host's own addresses.
OWN = {4: "20.1.1.1", 6: "fd00::1"}


class Config(ctypes.Structure):
    """struct encap_config of bpf/xdp/encap.bpf.c."""

    _fields_ = [
        ("local", ctypes.c_uint8 * 16),
        ("remote", ctypes.c_uint8 * 16),
        ("family", ctypes.c_uint8),
        ("padding", ctypes.c_uint8 * 3),
    ]


def make_config(family, remote):
    """Encapsulate for a peer; with family 0, do nothing."""
    config = Config(family=family)
    for name, address in (("local", OWN[family or 4]), ("remote", remote)):
        packed = ip_address(address).packed
        getattr(config, name)[: len(packed)] = packed
    return config


def routed(packet):
    """The packet as a router passes it on: with one hop less."""
    changed = bytearray(packet)
    changed[8] -= 1
    changed[10:12] = bytes(2)
    header = (packet[0] & 0xF) * 4
    changed[10:12] = internet_checksum(bytes(changed[:header])).to_bytes(2, "big")
    return bytes(changed)


def outer(family, remote, packet):
    """The headers that are put before a packet."""
    size = int.from_bytes(packet[2:4], "big")
    addresses = ip_address(OWN[family]).packed + ip_address(remote).packed
    if family == 6:
        flow = (0x6 << 28 | packet[1] << 20).to_bytes(4, "big")
        return flow + (size + 4).to_bytes(2, "big") + b"\x2f\x40" + addresses + b"\0\0\x08\0"
    header = bytearray(b"\x45" + packet[1:2] + (size + 24).to_bytes(2, "big") + b"\0\0\x40\0")
    header += b"\x40\x2f\0\0" + addresses
    header[10:12] = internet_checksum(bytes(header)).to_bytes(2, "big")
    return bytes(header) + b"\0\0\x08\0"
