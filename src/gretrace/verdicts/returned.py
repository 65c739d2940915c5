# SPDX-License-Identifier: GPL-2.0-only
"""What comes to this host from an address of its own."""

from collections.abc import Callable

from gretrace.kernel.lookup import Tables
from gretrace.kernel.outgoing import find_sender
from gretrace.model import Address, Drop, Packet, Route, Tunnel
from gretrace.wire.packet import ECHO_REPLY

# The index of `lo` in every namespace (LOOPBACK_IFINDEX of net/flow.h).
LOOPBACK = 1


def sent_to_itself(drop: Drop, tables: Tables | None) -> Tunnel | None:
    """Return the tunnel that sent a packet which came back by `lo`, as its remote is an own one."""
    packet = drop.packet
    if drop.ifindex != LOOPBACK or not packet or not packet.gre or tables is None:
        return None
    return find_sender(packet, tables)


def carries_own_answer(
    packet: Packet | None, tunnel: Tunnel | None, route: Callable[[Address], Route]
) -> bool:
    """Whether an inner packet is an echo reply of this host's, which the peer wants to get back."""
    if not packet or not tunnel or packet.icmp_type != ECHO_REPLY[packet.family]:
        return False
    return packet.remote == tunnel.local or route(packet.remote).is_own
