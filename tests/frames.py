# SPDX-License-Identifier: GPL-2.0-only
"""GRE packets as bytes, right or wrong as a test wants them."""

from ipaddress import ip_address

from gretrace.wire.packet import internet_checksum

ETH_P_IP = 0x0800


def ipv4(
    source, destination, protocol, payload, *, tos=0, ttl=64, fragment=0, number=0x1234, options=b""
):
    """An IPv4 packet with a right checksum."""
    words = 5 + len(options) // 4
    header = bytearray(words * 4)
    header[0] = 0x40 | words
    header[1] = tos
    header[2:4] = (len(header) + len(payload)).to_bytes(2, "big")
    header[4:6] = number.to_bytes(2, "big")
    header[6:8] = fragment.to_bytes(2, "big")
    header[8], header[9] = ttl, protocol
    header[12:16] = ip_address(source).packed
    header[16:20] = ip_address(destination).packed
    header[20:] = options
    header[10:12] = internet_checksum(bytes(header)).to_bytes(2, "big")
    return bytes(header) + payload


def gre(payload, *, protocol=ETH_P_IP, key=None, sequence=None, checksum=False, flags=0):
    """A GRE header and what it carries; `flags` are set on top of those that are needed."""
    flags |= 0x8000 * checksum | 0x2000 * (key is not None) | 0x1000 * (sequence is not None)
    fields = bytearray(flags.to_bytes(2, "big") + protocol.to_bytes(2, "big"))
    if checksum:
        fields += bytes(4)
    for value in (key, sequence):
        if value is not None:
            fields += value.to_bytes(4, "big")
    packet = fields + payload
    if checksum:
        packet[4:6] = internet_checksum(bytes(packet)).to_bytes(2, "big")
    return bytes(packet)


def udp(source, destination, payload=b"x" * 16, *, tos=0):
    """An IPv4 UDP packet to the discard port, without the optional checksum."""
    header = (4321).to_bytes(2, "big") + (9).to_bytes(2, "big")
    header += (8 + len(payload)).to_bytes(2, "big") + bytes(2)
    return ipv4(source, destination, 17, header + payload, tos=tos)


def ipv6(source, destination, next_header, payload, *, hop_limit=64):
    """An IPv6 packet."""
    head = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes([next_header, hop_limit])
    return head + ip_address(source).packed + ip_address(destination).packed + payload


def answer(local, remote, *, protocol=0, **header):
    """What a keepalive carries: the packet that comes back when it is answered."""
    if ip_address(local).version == 6:
        return ipv6(local, remote, 47, gre(b"", protocol=protocol, **header), hop_limit=255)
    return ipv4(local, remote, 47, gre(b"", protocol=protocol, **header), ttl=255)


def gre_packet(source, destination, payload=None, *, tos=0, **header):
    """A GRE packet between two routers, with an ordinary inner packet unless told otherwise."""
    inner = udp("10.10.10.2", "10.10.10.1") if payload is None else payload
    return ipv4(source, destination, 47, gre(inner, **header), tos=tos)
