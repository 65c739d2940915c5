"""Keepalives of a capture, and their answers."""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from gretrace.kernel.receive import header_size
from gretrace.model import ETH_P_IP, ETH_P_IPV6, GRE, Address, Packet, Tunnel
from gretrace.wire.packet import parse_packet

# As long as an answer may take, in nanoseconds of the capture; a peer asks every few seconds.
PATIENCE_NS = 3 * 10**9


@dataclass(frozen=True, slots=True)
class Keepalive:
    """A keepalive that was received and taken by a tunnel."""

    tunnel: Tunnel
    inner: Packet  # the answer that it carries: from us to the peer
    time_ns: int


class Keepalives:
    """Matches keepalives that were received with answers that were sent."""

    def __init__(self) -> None:
        self._awaiting: dict[tuple[Address, Address], deque[Keepalive]] = defaultdict(deque)
        self._unanswered: list[Keepalive] = []
        self._sent: set[tuple[Address, Address]] = set()

    def note_received(self, keepalive: Keepalive) -> None:
        """Wait for the answer to a keepalive."""
        pair = keepalive.inner.remote, keepalive.inner.local
        self._give_up(pair, keepalive.time_ns)
        self._awaiting[pair].append(keepalive)

    def note_sent(self, packet: Packet, time_ns: int) -> None:
        """Take a packet that this host sent for the answer, if it is one."""
        pair = packet.remote, packet.local
        self._sent.add(pair)
        if pair not in self._awaiting:
            return
        self._give_up(pair, time_ns)
        awaiting = self._awaiting[pair]
        inner = _carried(packet)
        if is_answer(packet):
            answered = next(iter(awaiting), None)
        elif inner and is_answer(inner) and (inner.remote, inner.local) == pair:
            key = packet.gre.key if packet.gre else None
            answered = next((k for k in awaiting if k.tunnel.okey == key), None)
        else:
            return
        if answered:
            awaiting.remove(answered)

    def unanswered(self, end_ns: int) -> Iterator[Keepalive]:
        """Yield what nobody answered until the capture's end, where answers could be seen."""
        for pair in self._awaiting:
            self._give_up(pair, end_ns)
        for keepalive in self._unanswered:
            if self._is_heard(keepalive):
                yield keepalive

    def unknown(self, end_ns: int) -> int:
        """Tell how many found no answer in a capture that has nothing of what this host sent."""
        for pair in self._awaiting:
            self._give_up(pair, end_ns)
        return sum(not self._is_heard(keepalive) for keepalive in self._unanswered)

    def _is_heard(self, keepalive: Keepalive) -> bool:
        return (keepalive.inner.remote, keepalive.inner.local) in self._sent

    def _give_up(self, pair: tuple[Address, Address], now_ns: int) -> None:
        awaiting = self._awaiting[pair]
        while awaiting and now_ns - awaiting[0].time_ns >= PATIENCE_NS:
            self._unanswered.append(awaiting.popleft())


def keepalive_inside(packet: Packet) -> Packet | None:
    """Return what a received packet carries if it is a keepalive: our answer to its sender."""
    inner = _carried(packet)
    if inner is None or not is_answer(inner):
        return None
    return inner if (inner.remote, inner.local) == (packet.local, packet.remote) else None


def is_answer(packet: Packet) -> bool:
    """Whether a packet is what a keepalive carries, by its GRE header, which ends it."""
    gre = packet.gre
    if gre is None or packet.gre_length != header_size(gre):
        return False
    # RouterOS has the protocol of IPv6 in what it sends over IPv6.
    return gre.protocol == 0 or (packet.family == 6 and gre.protocol == ETH_P_IPV6)


def _carried(packet: Packet) -> Packet | None:
    gre, inner = packet.gre, packet.inner
    if gre is None or inner is None or inner.protocol != GRE:
        return None
    if gre.protocol not in (ETH_P_IP, ETH_P_IPV6):
        return None
    return parse_packet(packet.payload, packet.gre_length - header_size(gre))
