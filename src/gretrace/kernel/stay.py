# SPDX-License-Identifier: GPL-2.0-only
"""What is known of a packet in the host's own stack, and of the addresses that it may have."""

from dataclasses import dataclass, field

from gretrace.kernel.settings import accepts_own
from gretrace.kernel.surroundings import Nowhere, Surroundings
from gretrace.model import Address, Packet, Route


@dataclass(frozen=True)
class Stay:
    """A packet in the host's stack, and what it meets there."""

    packet: Packet | None  # None where it is no IP packet
    device: str | None = None  # by which it came, or leaves
    host: Surroundings = field(default_factory=Nowhere)
    is_routed: bool | None = None  # the kernel had found a route for it; None: it is not known
    is_sent: bool = False  # it was on its way out
    is_passing: bool = False  # it came by a tunnel, and was on its way out by another device
    is_wrapped: bool = False  # a tunnel has just encapsulated it; no device of the underlay has it
    is_external: bool = False  # a tunnel delivered it that leaves what was outside as metadata
    vrf: int | None = None  # ifindex of the VRF, of the many tables of a namespace

    @property
    def is_early(self) -> bool:
        """Whether it may be at a hook before routing.

        What an external tunnel delivers looks routed from the beginning: its metadata is a dst.
        """
        return not self.is_sent and (not self.is_routed or self.is_external)

    @property
    def is_for_us(self) -> bool:
        """Whether it is delivered here, not forwarded."""
        destination = self.packet.local if self.packet else None
        if destination is None:
            return False
        return destination.is_multicast or self.route(destination).is_own

    def route(self, address: Address) -> Route:
        """Return the way that the kernel would send from there."""
        return self.host.route(address, None, self.vrf)


def impossible_source(source: Address) -> str | None:
    """Say what an address is that no host may send from; None where one may."""
    if source.is_multicast:
        return "a multicast group"
    if source.is_loopback:
        return "a loopback address"
    if source.version == 4 and source.is_unspecified:
        return "no address at all"
    return "the broadcast address" if str(source) == "255.255.255.255" else None


def is_refused_own(stay: Stay, device: str) -> bool:
    """Whether the source is an address of this host, and such may not come in there."""
    if stay.packet is None or accepts_own(stay.host.sysctl, device):
        return False
    return stay.route(stay.packet.remote).is_own
