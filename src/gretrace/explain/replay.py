# SPDX-License-Identifier: GPL-2.0-only
"""A host that receives what a capture holds."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache

from gretrace.capture import Direction, Frame
from gretrace.explain.keepalives import (
    Keepalive,
    Keepalives,
    health_check_inside,
    is_answer,
    is_echo_reply,
    keepalive_inside,
)
from gretrace.explain.kept import Kept, join
from gretrace.kernel import stack
from gretrace.kernel.lookup import Tables
from gretrace.kernel.receiver import Ended, Receiver
from gretrace.model import GRE, Address, Drop, Packet, Place, Tunnel
from gretrace.wire.checksum import is_unfinished
from gretrace.wire.extensions import IPV6_DESTINATION_OPTIONS, IPV6_SIZE
from gretrace.wire.packet import (
    ICMP,
    IPV4_MIN,
    UDP,
    UDP_SIZE,
    parse_packet,
)

# Where the packet that a keepalive carries dies: its source is an address of this host.
UNANSWERED = stack.martian_source.free(4).place

ASKED = 1024  # addresses of which the host is asked whether they are its own
LINKS_KEPT = 4096  # names of devices whose indexes are remembered
MORE_FRAGMENTS = 0x20  # of the seventh byte of an IPv4 header


def _knows_none(_address: Address) -> bool:
    return False


class ReplayedHost:
    """The host of a table of tunnels, which receives the packets of a capture one by one.

    `netns` is that of the tunnels; `link_index` tells the index of a device by its name, where
    it is known, `is_own` whether an address is the host's. Only drops that `admits` lets pass
    are counted.
    """

    def __init__(
        self,
        tables: Tables,
        netns: int,
        link_index: Callable[[str], int | None],
        admits: Callable[[Drop], bool],
        is_own: Callable[[Address], bool] = _knows_none,
    ) -> None:
        self._tables, self._netns, self._admits = tables, netns, admits
        self._link_index = lru_cache(maxsize=LINKS_KEPT)(link_index)
        self._ends = Ends(tables)
        self._receiver = Receiver(tables)
        self._keepalives, self._probes = Keepalives(is_answer), Keepalives(is_echo_reply)
        self._is_own = Asked(is_own)
        self._ports = frozenset(
            port for t in tables.tunnels if t.encap for port in (t.encap.dport, t.encap.sport)
        ) - {0}
        self._kept = Kept()
        self._end_ns = 0
        # Packets by source, destination and key, of those that tunnels send with.
        self._sent: dict[tuple[object, ...], int] = dict.fromkeys(
            map(_sent_with, tables.tunnels), 0
        )
        self.accepted: Counter[int] = Counter()  # packets by the tunnel's ifindex
        self.packets = self.gre_packets = self.received = self.cut_off = self.refused = 0

    def take(self, frame: Frame) -> None:
        """Do with a packet of the capture what the host did."""
        self.packets += 1
        self._end_ns = max(self._end_ns, frame.time_ns)
        in_udp = self._is_to_port(frame.data)
        if not (in_udp or _may_be_gre(frame.data)):
            if self._probes.is_waiting and _is_icmp(frame.data):
                self._note_bare_reply(frame)
            return
        packet = _parse(frame, in_udp=in_udp)
        if packet is None or packet.protocol != GRE or packet.is_fragment:
            return
        self.gre_packets += 1
        if self._ends.has_sent(packet, frame.direction):
            sent = packet.remote, packet.local, packet.gre.key if packet.gre else None
            if sent in self._sent:
                self._sent[sent] += 1
            self._keepalives.note_sent(packet, frame.time_ns)
            self._probes.note_sent(packet, frame.time_ns)
        if self._ends.has_received(packet, frame.direction):
            self.received += 1
            self._receive(packet, frame)

    def drops(self) -> Iterator[tuple[Drop, str | None]]:
        """Yield drops, each kind once, and the interface of its packets, if it is known."""
        yield from self._kept
        yield from self._unanswered(self._keepalives)
        yield from self._unanswered(self._probes)

    def _unanswered(self, keepalives: Keepalives) -> Iterator[tuple[Drop, str | None]]:
        unanswered: dict[int, Drop] = {}
        for alike in keepalives.unanswered(self._end_ns):
            ifindex, inner = alike.keepalive.tunnel.ifindex, alike.keepalive.inner
            drop = replace(
                self._drop(UNANSWERED, inner, alike.first_ns, ifindex, on_tunnel=True),
                count=alike.count,
                last_ns=alike.last_ns,
            )
            if self._admits(drop):
                known = unanswered.get(ifindex)
                unanswered[ifindex] = join(known, drop) if known else drop
        for ifindex, drop in unanswered.items():
            tunnel = self._tables.by_ifindex(ifindex)
            yield drop, tunnel.name if tunnel else None

    def sent(self, tunnel: Tunnel) -> int:
        """Tell how many packets left by a tunnel."""
        return self._sent.get(_sent_with(tunnel), 0)

    @property
    def let_go(self) -> int:
        """How many refused packets are of kinds that were too many to be kept apart."""
        return self._kept.let_go

    @property
    def unknown_keepalives(self) -> int:
        """How many keepalives may or may not have been answered, since nothing sent was seen."""
        return self._keepalives.unknown(self._end_ns) + self._probes.unknown(self._end_ns)

    def _is_to_port(self, data: bytes) -> bool:
        """Whether it is UDP to a port of a tunnel in UDP (FOU, GUE)."""
        if not self._ports or len(data) < IPV4_MIN:
            return False
        size = (data[0] & 0xF) * 4 if data[0] >> 4 == 4 else IPV6_SIZE
        if data[9 if data[0] >> 4 == 4 else 6] != UDP or len(data) < size + UDP_SIZE:
            return False
        return int.from_bytes(data[size + 2 : size + 4], "big") in self._ports

    def _note_bare_reply(self, frame: Frame) -> None:
        """Note an echo reply that this host sent without a tunnel's header."""
        packet = parse_packet(frame.data, frame.length)
        if packet and self._ends.has_sent(packet, frame.direction):
            self._probes.note_sent(packet, frame.time_ns)

    def _receive(self, packet: Packet, frame: Frame) -> None:
        link = (self._link_index(frame.interface) if frame.interface else None) or 0
        outcome = self._receiver.receive(packet, link)
        if outcome is None:
            self.cut_off += 1
        elif isinstance(outcome, Ended):
            self._refuse(packet, outcome, frame)
        else:
            self._accept(packet, outcome, frame)

    def _accept(self, packet: Packet, tunnel: Tunnel, frame: Frame) -> None:
        self.accepted[tunnel.ifindex] += 1
        if tunnel.fallback:
            return
        asked = packet.local, packet.remote
        if inner := keepalive_inside(packet):
            self._keepalives.note_received(Keepalive(tunnel, inner, frame.time_ns, asked))
        elif inner := health_check_inside(packet, self._is_own):
            self._probes.note_received(Keepalive(tunnel, inner, frame.time_ns, asked))

    def _refuse(self, packet: Packet, ended: Ended, frame: Frame) -> None:
        drop = ended.drop(self._netns, frame.time_ns)
        if not self._admits(drop):
            return
        gre, tunnel = packet.gre, ended.passage.tunnel
        header = (gre.flags, gre.protocol, gre.key) if gre else None
        kind = (ended.step, packet.remote, packet.local, header, frame.interface)
        iif = tunnel.name if tunnel and drop.on_tunnel else frame.interface
        self._kept.add(kind, drop, iif)
        self.refused += 1

    def _drop(
        self, place: Place, packet: Packet, time_ns: int, ifindex: int, *, on_tunnel: bool = False
    ) -> Drop:
        return Drop(
            place=place,
            reason=None,
            netns=self._netns,
            ifindex=ifindex,
            on_tunnel=on_tunnel,
            packet=packet,
            count=1,
            first_ns=time_ns,
            last_ns=time_ns,
        )


class Asked:
    """Asks of each address once, of as many as a host with honest peers has to know."""

    def __init__(self, is_own: Callable[[Address], bool]) -> None:
        self._is_own = is_own
        self._known: dict[Address, bool] = {}

    def __call__(self, address: Address) -> bool:
        """Whether it is the host's; of too many, none is."""
        if address not in self._known and len(self._known) < ASKED:
            self._known[address] = self._is_own(address)
        return self._known.get(address, False)


class Ends:
    """Which packets the host of some tunnels has sent, and which it has received."""

    def __init__(self, tables: Tables) -> None:
        tunnels = [tunnel for tunnel in tables.tunnels if not tunnel.fallback]
        self._pairs = {(tunnel.local, tunnel.remote) for tunnel in tunnels}
        self._locals = {tunnel.local for tunnel in tunnels if tunnel.local}
        self._groups = {t.remote for t in tunnels if t.remote and t.remote.is_multicast}

    def has_sent(self, packet: Packet, direction: Direction | None) -> bool:
        """Whether it left by one of the tunnels."""
        if direction is not None:
            return direction is Direction.OUT
        source, destination = packet.remote, packet.local
        return (
            (source, destination) in self._pairs
            or (source, None) in self._pairs
            or self._is_to_peer_of_anywhere(destination)
        )

    def has_received(self, packet: Packet, direction: Direction | None) -> bool:
        """Whether it came to this host, by one of the tunnels or past them."""
        if direction in (Direction.OUT, Direction.PAST):
            return False
        source, destination = packet.remote, packet.local
        if destination in self._locals:
            return True
        return source not in self._locals and (
            destination in self._groups or not self._is_to_peer_of_anywhere(destination)
        )

    def _is_to_peer_of_anywhere(self, destination: Address) -> bool:
        # A tunnel without a local address sends from whatever address the route has.
        return destination not in self._locals and (None, destination) in self._pairs


def _may_be_gre(data: bytes) -> bool:
    if len(data) >= IPV4_MIN and data[0] >> 4 == 4:
        return data[9] == GRE
    return len(data) >= IPV6_SIZE and data[6] in (GRE, IPV6_DESTINATION_OPTIONS)


def _is_icmp(data: bytes) -> bool:
    return len(data) >= IPV4_MIN and data[9 if data[0] >> 4 == 4 else 6] in ICMP


def _parse(frame: Frame, *, in_udp: bool) -> Packet | None:
    data, length = frame.data, frame.length
    if _header_size(data) > len(data):
        return None
    if in_udp and data[0] >> 4 == 4:
        # Ethernet pads short frames.
        length = min(length, int.from_bytes(data[2:4], "big"))
        data = data[:length]
    if data[0] >> 4 == 4 and data[6] & MORE_FRAGMENTS:
        # The packet goes on, so its checksum cannot be computed.
        length += 1
    packet = parse_packet(data, length, in_udp=in_udp)
    gre = packet.gre if packet else None
    if not packet or not gre or gre.checksum_valid is not False:
        return packet
    place = packet.length - packet.gre_length + 4
    # A device was to fill it in, and has filled in nothing yet.
    is_empty = not any(data[place : place + 2])
    if is_empty or is_unfinished(gre.protocol, packet.payload):
        return replace(packet, gre=replace(gre, checksum_valid=None))
    return packet


def _header_size(data: bytes) -> int:
    """Return how many bytes come before the GRE header."""
    if data[0] >> 4 == 4:
        return (data[0] & 0xF) * 4
    if data[6] in (GRE, UDP):
        return IPV6_SIZE
    options = data[IPV6_SIZE : IPV6_SIZE + 2]
    return IPV6_SIZE + 8 + (options[1] * 8 if len(options) == 2 else 0)


def _sent_with(tunnel: Tunnel) -> tuple[object, ...]:
    return tunnel.local, tunnel.remote, tunnel.okey
