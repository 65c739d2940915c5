"""Tunnels, what they carry, and the way to their remote."""

from dataclasses import dataclass

from gretrace.model.protocols import Address


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One GRE tunnel device as netlink describes it (IFLA_GRE_* of linux/if_tunnel.h)."""

    name: str
    ifindex: int
    netns: int
    kind: str  # gre, gretap, erspan, ip6gre, ip6gretap or ip6erspan
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

    @property
    def is_ethernet(self) -> bool:
        """Whether the tunnel carries Ethernet frames, not IP packets."""
        return self.kind not in ("gre", "ip6gre")

    @property
    def family(self) -> int:
        """4 or 6: the IP version of the outer header."""
        return 6 if self.kind.startswith("ip6") else 4


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a tunnel has carried, in packets."""

    received: int
    sent: int
    received_while_watching: int = 0
    received_lately: int = 0  # since the last time that anyone looked


@dataclass(frozen=True, slots=True)
class Route:
    """The way by which the kernel reaches an address, if it does."""

    device: int | None = None
    source: Address | None = None
    name: str | None = None  # of the device
    gateway: Address | None = None  # None: the address is on the device's own link
    mtu: int | None = None  # of the path, as far as this host knows
    is_own: bool = False  # the address is one of this host
    error: int | None = None  # errno of the kernel's refusal; None too where it was not asked
    # Where the way leads into a GRE tunnel, or is refused: one that does not, if there is any.
    detour: "Route | None" = None
