# SPDX-License-Identifier: GPL-2.0-only
"""Tunnels, what they carry, and the way to their remote."""

from dataclasses import dataclass

from gretrace.model.protocols import Address


@dataclass(frozen=True, slots=True)
class Encap:
    """UDP around a tunnel's packets: FOU or GUE, in the words of iproute2's `encap`."""

    type: str  # fou or gue
    sport: int = 0  # 0 is iproute2's "auto"
    dport: int = 0
    csum: bool = False
    csum6: bool = False
    remcsum: bool = False


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One GRE tunnel device as netlink describes it (IFLA_GRE_* of linux/if_tunnel.h)."""

    name: str
    ifindex: int
    netns: int
    kind: str  # a name in KINDS of gretrace.kernel.kinds
    local: Address | None = None
    remote: Address | None = None
    ikey: int | None = None
    okey: int | None = None
    icsum: bool = False
    ocsum: bool = False
    iseq: bool = False
    oseq: bool = False
    link: int = 0  # ifindex of the device that the tunnel is bound to
    link_name: str | None = None
    up: bool = True
    external: bool = False  # collect_md: takes what no other tunnel took
    fallback: bool = False  # gre0, gretap0, erspan0, ip6gre0: made by the kernel
    ttl: int = 0  # 0 is iproute2's "inherit"
    tos: int = 0
    pmtudisc: bool = True
    ignore_df: bool = False
    mtu: int = 0
    moved: bool = False  # made in another namespace, where it goes on receiving
    # IFLA_GRE_IKEY without its flag: no packet must have it, but the kernel hashes by it.
    stray_ikey: int = 0
    erspan_version: int = 1  # of an ERSPAN tunnel: 0 is type I, 1 II, 2 III
    encap_limit: int | None = None  # of RFC 2473, over IPv6; None: it sends no such option
    encap: Encap | None = None


@dataclass(frozen=True, slots=True)
class BridgePort:
    """A device as the port of a bridge (`bridge link`, `bridge vlan`)."""

    bridge: str
    state: int  # as BR_STATE_* of uapi/linux/if_bridge.h
    has_stp: bool  # the bridge sets the state by itself, or a program does
    filters: bool  # by VLAN
    vlans: tuple[tuple[int, int], ...] = ()  # first and last of each range that it lets in
    pvid: int | None = None  # of frames without a tag; None: it lets in none

    def admits(self, vlan: int) -> bool:
        """Whether frames of a VLAN may come in, 0 being those without a tag."""
        wanted = vlan or self.pvid or 0
        return any(first <= wanted <= last for first, last in self.vlans)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a tunnel has carried, in packets."""

    received: int
    sent: int
    received_while_watching: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """A network device, as far as what stands on it depends on it."""

    ifindex: int
    name: str
    up: bool
    carrier: bool
    vrf: str | None = None  # the VRF that it is enslaved to, or is
    vrf_ifindex: int | None = None


@dataclass(frozen=True, slots=True)
class RefusingRule:
    """A rule of policy routing by which a way is refused."""

    priority: int
    table: int | None  # whose route refuses; None: the rule itself does
    kind: str  # unreachable, prohibit or blackhole


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a route tells an external tunnel about the packets that it leads into it."""

    remote: Address
    local: Address | None = None
    has_key: bool = False
    has_checksum: bool = False
    has_sequence: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """The way by which the kernel reaches an address, if it does."""

    device: int | None = None
    source: Address | None = None
    name: str | None = None  # of the device
    gateway: Address | None = None  # None: the address is on the device's own link
    mtu: int | None = None  # of the path, as far as this host knows
    is_own: bool = False  # the address is one of this host
    is_broadcast: bool = False  # the address is that of all hosts of a network of this host
    error: int | None = None  # errno of the kernel's refusal; None too where it was not asked
    # Where the way leads into a GRE tunnel, or is refused: one that does not, if there is any.
    detour: "Route | None" = None
    metadata: Metadata | None = None  # where the way leads into an external tunnel
