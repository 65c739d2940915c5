# SPDX-License-Identifier: GPL-2.0-only
"""Whether a checksum in a capture can be held against the packet."""

from gretrace.model import ETH_P_IP, ETH_P_IPV6, ETH_P_TEB
from gretrace.wire.extensions import IPV6_SIZE
from gretrace.wire.packet import ETHERNET_SIZE, IPV4_MIN, internet_checksum

# IP protocol: where its checksum stands
TRANSPORTS = {6: 16, 17: 6}


def is_unfinished(protocol: int, data: bytes) -> bool:
    """Whether a GRE packet carries TCP or UDP whose own checksum was still to be filled in.

    Then it has the sum of the pseudo header in that place (CHECKSUM_PARTIAL of linux/skbuff.h),
    and the checksum of the GRE packet is that of the finished one (lco_csum()), or of the
    first of several that were joined on receipt (tcp_gro_complete()).
    """
    if protocol == ETH_P_TEB:
        protocol, data = int.from_bytes(data[12:14], "big"), data[ETHERNET_SIZE:]
    if protocol == ETH_P_IP and len(data) >= IPV4_MIN:
        transport, size, addresses = data[9], (data[0] & 0xF) * 4, data[12:20]
    elif protocol == ETH_P_IPV6 and len(data) >= IPV6_SIZE:
        transport, size, addresses = data[6], IPV6_SIZE, data[8:40]
    else:
        return False
    place = size + TRANSPORTS.get(transport, 0)
    if transport not in TRANSPORTS or place + 2 > len(data):
        return False
    length = len(data) - size
    pseudo_header = addresses + length.to_bytes(4, "big") + transport.to_bytes(4, "big")
    sum_so_far = internet_checksum(pseudo_header) ^ 0xFFFF
    return data[place : place + 2] == sum_so_far.to_bytes(2, "big")
