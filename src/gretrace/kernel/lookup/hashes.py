# SPDX-License-Identifier: GPL-2.0-only
"""Where in its hash tables the kernel keeps a tunnel.

The kernel hashes keys and addresses as they lie in memory, so on a little-endian machine
key 2 counts as 33554432.
"""

import sys
from ipaddress import IPv6Address

# include/linux/hash.h since v4.7, ef703f49a6c5 ("Eliminate bad hash multipliers").
GOLDEN_RATIO_32 = 0x61C88647
IPV4_BITS = 7  # IP_TNL_HASH_BITS of include/net/ip_tunnels.h
IPV6_BITS = 5  # IP6_GRE_HASH_SIZE_SHIFT of net/ipv6/ip6_gre.c


def hash_32(value: int, bits: int, multiplier: int = GOLDEN_RATIO_32) -> int:
    """Return the highest `bits` of the product, as include/linux/hash.h does."""
    return (value * multiplier & 0xFFFFFFFF) >> (32 - bits)


def ip_tunnel_hash(key: int, remote: int, multiplier: int = GOLDEN_RATIO_32) -> int:
    """Return the bucket of a key and a remote, both in host byte order (net/ipv4/ip_tunnel.c)."""
    return hash_32(_in_memory(key) ^ _in_memory(remote), IPV4_BITS, multiplier)


def hash_key(key: int) -> int:
    """Return HASH_KEY() of net/ipv6/ip6_gre.c; the key in host byte order."""
    word = _in_memory(key)
    return (word ^ word >> 4) & (1 << IPV6_BITS) - 1


def hash_address(address: IPv6Address) -> int:
    """Return HASH_ADDR() of net/ipv6/ip6_gre.c."""
    words = memoryview(address.packed).cast("I")
    return hash_32(words[0] ^ words[1] ^ words[2] ^ words[3], IPV6_BITS)


def _in_memory(number: int) -> int:
    return int.from_bytes(number.to_bytes(4, "big"), sys.byteorder)
