# SPDX-License-Identifier: GPL-2.0-only
"""WireGuard as it decides where packets go (drivers/net/wireguard/allowedips.c)."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any, TypeAlias

from gretrace.kernel.way import Free, step
from gretrace.model import Address

Network: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer of a device, as `wg show` has it."""

    key: str  # its public key, in base64
    endpoint: Address | None  # None: it was not told, and was never heard
    allowed: Sequence[Network]
    handshake: int = 0  # CLOCK_REALTIME in seconds; 0: there was none


@dataclass(frozen=True, slots=True)
class WireGuard:
    """A device of WireGuard."""

    peers: Sequence[Peer]
    is_whole: bool = True  # False: there is more than was read

    def peer_for(self, address: Address) -> Peer | None:
        """Return the peer that packets to an address are for: by the longest prefix."""
        fitting = [
            (network.prefixlen, peer)
            for peer in self.peers
            for network in peer.allowed
            if network.version == address.version and address in network
        ]
        return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


# -ENOKEY and -EDESTADDRREQ of wg_xmit(), drivers/net/wireguard/device.c.
@step(Free(("wg_xmit",), "wireguard"))
def refused_by_wireguard(_: Any) -> bool | None:
    """WireGuard has no peer for it, or does not know where that is."""
    return None


@step(Free(("wg_packet_purge_staged_packets",), "wireguard"))
def given_up_by_wireguard(_: Any) -> bool | None:
    """It waited for a handshake of WireGuard, which nobody answered."""
    return None
