"""The things gretrace speaks of: tunnels, packets, drops and verdicts.

Plain values. Addresses are `ipaddress` objects, keys and protocols integers in
host byte order. None as an address is iproute2's "any"; None as a key means that
there is no key field, which is not the same as key 0.
"""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

GRE = 47  # IPPROTO_GRE
ETH_P_IP = 0x0800
ETH_P_IPV6 = 0x86DD
ETH_P_TEB = 0x6558  # transparent Ethernet bridging: what a gretap tunnel carries
ETH_P_WCCP = 0x883E
ETH_P_ERSPAN, ETH_P_ERSPAN2 = 0x88BE, 0x22EB  # uapi/linux/if_ether.h; net/erspan.h has II as 0x88BE


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


@dataclass(frozen=True, slots=True)
class GreHeader:
    """A GRE header (RFC 2784 section 2, RFC 2890 section 2) as far as it was there."""

    flags: int  # the first 16 bits, as on the wire
    protocol: int
    key: int | None
    sequence: int | None
    complete: bool  # every field that the flags announce lies within the packet
    checksum_valid: bool | None = None  # None: there is none, or not enough bytes to tell

    @property
    def has_checksum(self) -> bool:
        """Whether the C bit is set."""
        return bool(self.flags & 0x8000)

    @property
    def has_routing(self) -> bool:
        """Whether the R bit is set, which Linux refuses."""
        return bool(self.flags & 0x4000)

    @property
    def has_key(self) -> bool:
        """Whether the K bit is set."""
        return bool(self.flags & 0x2000)

    @property
    def has_sequence(self) -> bool:
        """Whether the S bit is set."""
        return bool(self.flags & 0x1000)

    @property
    def version(self) -> int:
        """0 for GRE, 1 for PPTP's (RFC 2637)."""
        return self.flags & 0x7


@dataclass(frozen=True, slots=True)
class Inner:
    """The IP header that a GRE packet carries."""

    source: Address
    destination: Address
    protocol: int
    tos: int = 0  # IPv4's type of service, IPv6's traffic class


@dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet, seen from the host that received it: remote is its source."""

    remote: Address
    local: Address
    protocol: int
    length: int  # bytes from the first byte of this IP header on
    gre: GreHeader | None = None
    gre_length: int = 0  # bytes from the GRE header's first byte to the packet's end
    payload: bytes = b""  # what the GRE header carries, as far as it was there
    inner: Inner | None = None
    is_fragment: bool = False  # a later fragment: its payload begins with no header
    tos: int = 0  # IPv4's type of service, IPv6's traffic class
    must_not_fragment: bool = False  # IPv4's DF bit; IPv6 never fragments on the way

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.remote.version


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the kernel a packet was freed."""

    function: str
    module: str | None = None

    def __str__(self) -> str:
        return f"{self.function} [{self.module}]" if self.module else self.function


@dataclass(frozen=True, slots=True)
class Drop:
    """Packets that died alike: same place, same reason, same tuple, same device."""

    place: Place
    reason: str | None  # None where the kernel gives none
    netns: int
    ifindex: int
    on_tunnel: bool  # the device is a GRE tunnel, so the packet is the inner one
    packet: Packet | None  # None when what was freed is no IP packet
    count: int
    first_ns: int  # CLOCK_REALTIME
    last_ns: int
    protocol: int | None = None  # EtherType of what was freed, unless it has a GRE header
    is_pulled: bool = False  # a tunnel had taken off the outer headers already
    is_routed: bool = False  # the kernel had found a route for it
    is_sent: bool = False  # it was on its way out of the device, not in


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


@dataclass(frozen=True, slots=True)
class Tuple:
    """What the outer header says of a packet, whether it was seen or is known from the tunnel."""

    family: int | None
    remote: Address | None
    local: Address | None
    key: int | None
    flags: tuple[str, ...]
    protocol: int | None


class Where(StrEnum):
    """Who has to act."""

    HERE = "here"
    PEER = "peer"
    PATH = "path"


class Confidence(StrEnum):
    """Whether the evidence admits no other cause."""

    CERTAIN = "certain"
    LIKELY = "likely"


@dataclass(frozen=True, slots=True)
class Fix:
    """One way to mend the fault."""

    where: Where
    note: str
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a cause's function says of a drop that it recognised."""

    summary: str
    evidence: tuple[str, ...]
    fix: tuple[Fix, ...]
    path: tuple[str, ...]  # the steps that the packet took; it died in the last
    confidence: Confidence = Confidence.CERTAIN
    tunnel: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a packet was dropped, in words, and what to do about it."""

    cause: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class Report:
    """A verdict with the drops that it explains so far."""

    verdict: Verdict
    drop: Drop  # the newest of its kind
    iif: str | None
    namespace: str | None  # the name by which the user knows it; None for the caller's own
    tuple: Tuple
    count: int
    first_ns: int  # CLOCK_REALTIME
    last_ns: int


@dataclass(frozen=True, slots=True)
class Responder:
    """The keepalive responder on a tunnel, and what it did so far."""

    hook: str  # tc or xdp
    program_id: int
    answered: int
    refused: dict[str, int]  # packets by reason; reasons that never came are left out
    last_answered_ns: int | None  # CLOCK_REALTIME


@dataclass(frozen=True, slots=True)
class Keepalive:
    """A packet that a responder looked at."""

    tunnel: str
    time_ns: int  # CLOCK_REALTIME
    outcome: str  # answered, passed, or why it was refused
    header: bytes  # as the program saw the packet
    inner: Packet | None  # what the keepalive carries
