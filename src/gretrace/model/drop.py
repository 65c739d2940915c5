# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel did with packets: where it freed them, which tunnel it chose."""

from dataclasses import dataclass

from gretrace.model.packet import Packet
from gretrace.model.protocols import Address


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the kernel a packet was freed."""

    function: str
    module: str | None = None

    def __str__(self) -> str:
        return f"{self.function} [{self.module}]" if self.module else self.function


@dataclass(frozen=True, slots=True)
class Tuple:
    """What the outer header says of a packet, whether it was seen or is known from the tunnel."""

    family: int | None
    remote: Address | None
    local: Address | None
    key: int | None
    flags: tuple[str, ...]
    protocol: int | None


@dataclass(frozen=True, slots=True)
class Label:
    """The outermost label of MPLS (RFC 3032)."""

    value: int
    is_last: bool  # what follows is no label


@dataclass(frozen=True, slots=True)
class Drop:
    """Packets that died alike: same place, same reason, same tuple, same device."""

    place: Place
    reason: str | None  # None where the kernel gives none
    netns: int
    ifindex: int
    # The packet is the inner one: the device is a GRE tunnel, or one that took it from there.
    on_tunnel: bool
    packet: Packet | None  # None when what was freed is no IP packet
    count: int
    first_ns: int  # CLOCK_REALTIME
    last_ns: int
    protocol: int | None = None  # EtherType of what was freed, unless it has a GRE header
    is_pulled: bool = False  # a tunnel had taken off the outer headers already
    is_routed: bool = False  # the kernel had found a route for it
    is_sent: bool = False  # it was on its way out of the device, not in
    # Received by the tunnel `ifindex`, it died on its way out by this device; 0: by none.
    leaving_by: int = 0
    # A bridge handed it up: what the outer header said, which still lay before the frame.
    below: Tuple | None = None
    label: Label | None = None  # of MPLS
    # Of a frame on a tunnel's device: its VLAN, 0 for none. Before v6.2 it may be left over from
    # the frame outside.
    vlan: int = 0
    netns_cookie: int = 0  # low 32 bits of SO_NETNS_COOKIE; 0: not known


@dataclass(frozen=True, slots=True)
class Decision:
    """What the kernel's tunnel lookup answered to a received GRE packet, or to several alike."""

    time_ns: int  # CLOCK_REALTIME; of the last one, where several are counted
    netns: int  # inode of the namespace that the packet was received in
    ifindex: int  # of the device that it was received on
    family: int  # 4 or 6
    remote: Address
    local: Address
    key: int | None  # what was looked for: the key field, or ERSPAN's session id
    flags: tuple[str, ...]  # "csum", "key", "seq", as on the wire
    protocol: int
    tunnel_ifindex: int | None  # None: no tunnel took it
    tunnel_name: str | None
    tunnel_netns: int | None  # differs from netns for a tunnel that was moved
    count: int = 1
    first_ns: int = 0  # CLOCK_REALTIME
    netns_cookie: int = 0  # as that of a Drop
