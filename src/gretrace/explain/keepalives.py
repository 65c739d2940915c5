# SPDX-License-Identifier: GPL-2.0-only
"""Keepalives and health checks of a capture, and their answers."""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias

from gretrace.model import ETH_P_IP, ETH_P_IPV6, GRE, Address, Packet, Tunnel
from gretrace.wire.packet import ECHO_REPLY, ICMP, KEEPALIVE_BODIES, parse_packet

_Pair: TypeAlias = tuple[Address, Address]

# As long as an answer may take, in nanoseconds of the capture; a peer asks every few seconds.
PATIENCE_NS = 3 * 10**9


@dataclass(frozen=True, slots=True)
class Keepalive:
    """A keepalive that was received and taken by a tunnel."""

    tunnel: Tunnel
    inner: Packet  # the answer that it carries: from us to the peer
    time_ns: int
    asked: _Pair  # by whom, and whom: the addresses outside, ours first


@dataclass(slots=True)
class Alike:
    """Keepalives of one peer to one tunnel that found no answer."""

    keepalive: Keepalive  # the latest
    count: int
    first_ns: int
    last_ns: int


# So many keepalives may wait for an answer at once, and so many kinds be told apart. A peer asks
# every few seconds.
AWAITING = PEERS = 1 << 14
# Of so many pairs of addresses it is known that this host sends with them.
SENDERS = 1 << 16


class Keepalives:
    """Matches keepalives that were received with answers that were sent.

    `is_answer` tells whether a packet is what such a keepalive carries. What each costs does not
    depend on how many there are, and what is kept of them has a limit: the capture may be of a
    stranger's making.
    """

    def __init__(self, is_answer: Callable[[Packet], bool]) -> None:
        self._is_answer = is_answer
        self._numbers = count()
        # In the order in which they came, by number.
        self._awaiting: OrderedDict[int, Keepalive] = OrderedDict()
        # The numbers of a pair's, and of those of one key; some may await no more.
        self._queues: defaultdict[object, deque[int]] = defaultdict(deque)
        self._unanswered: dict[tuple[int, _Pair], Alike] = {}
        self._untold = 0  # that are of more peers than are told apart
        self._sent: set[_Pair] = set()

    def note_received(self, keepalive: Keepalive) -> None:
        """Wait for the answer to a keepalive."""
        self._give_up(keepalive.time_ns)
        if len(self._awaiting) >= AWAITING:
            self._give_up_first()
        number = next(self._numbers)
        self._awaiting[number] = keepalive
        for queue in _queues_of(keepalive):
            numbers = self._queues[queue]
            numbers.append(number)
            if len(numbers) > 2 * AWAITING:
                self._queues[queue] = deque(n for n in numbers if n in self._awaiting)

    @property
    def is_waiting(self) -> bool:
        """Whether any keepalive awaits its answer."""
        return bool(self._awaiting)

    def note_sent(self, packet: Packet, time_ns: int) -> None:
        """Take a packet that this host sent for the answer, if it is one."""
        pair = packet.remote, packet.local
        if len(self._sent) < SENDERS:
            self._sent.add(pair)
        if not self._awaiting:
            return
        self._give_up(time_ns)
        inner = _carried(packet)
        if self._is_answer(packet):
            self._answer(pair)
        elif inner and self._is_answer(inner):
            self._answer(((inner.remote, inner.local), packet.gre.key if packet.gre else None))

    def unanswered(self, end_ns: int) -> Iterator[Alike]:
        """Yield what nobody answered until the capture's end, where answers could be seen."""
        self._give_up(end_ns)
        yield from filter(self._is_heard, self._unanswered.values())

    def unknown(self, end_ns: int) -> int:
        """Tell how many found no answer in a capture that has nothing of what this host sent."""
        self._give_up(end_ns)
        unheard = (alike for alike in self._unanswered.values() if not self._is_heard(alike))
        return self._untold + sum(alike.count for alike in unheard)

    def _is_heard(self, alike: Alike) -> bool:
        # Of a host that is seen to send with very many, it is seen what it sends.
        return alike.keepalive.asked in self._sent or len(self._sent) >= SENDERS

    def _answer(self, queue: object) -> None:
        """Take the answer for that to the oldest keepalive of a queue."""
        if numbers := self._waiting_in(queue):
            self._forget(numbers[0])

    def _waiting_in(self, queue: object) -> deque[int] | None:
        """Return a queue whose first keepalive awaits; None where none of it does."""
        numbers = self._queues.get(queue)
        while numbers and numbers[0] not in self._awaiting:
            numbers.popleft()
        if not numbers:
            self._queues.pop(queue, None)
        return numbers or None

    def _forget(self, number: int) -> Keepalive:
        keepalive = self._awaiting.pop(number)
        for queue in _queues_of(keepalive):
            self._waiting_in(queue)
        return keepalive

    def _give_up(self, now_ns: int) -> None:
        """Let go of those that have waited too long."""
        while self._awaiting:
            first = next(iter(self._awaiting.values()))
            if now_ns - first.time_ns < PATIENCE_NS:
                return
            self._give_up_first()

    def _give_up_first(self) -> None:
        keepalive = self._forget(next(iter(self._awaiting)))
        kind = keepalive.tunnel.ifindex, _pair_of(keepalive)
        known, time_ns = self._unanswered.get(kind), keepalive.time_ns
        if known:
            known.keepalive, known.count = keepalive, known.count + 1
            known.first_ns, known.last_ns = (
                min(known.first_ns, time_ns),
                max(known.last_ns, time_ns),
            )
        elif len(self._unanswered) < PEERS:
            self._unanswered[kind] = Alike(keepalive, 1, time_ns, time_ns)
        else:
            self._untold += 1


def _pair_of(keepalive: Keepalive) -> _Pair:
    return keepalive.inner.remote, keepalive.inner.local


def _queues_of(keepalive: Keepalive) -> tuple[object, object]:
    """Name where it awaits a bare answer, and one in the tunnel, by the key of that."""
    pair = _pair_of(keepalive)
    return pair, (pair, keepalive.tunnel.okey)


def keepalive_inside(packet: Packet) -> Packet | None:
    """Return what a received packet carries if it is a keepalive: our answer to its sender."""
    inner = _carried(packet)
    if inner is None or not is_answer(inner):
        return None
    return inner if (inner.remote, inner.local) == (packet.local, packet.remote) else None


def health_check_inside(packet: Packet, is_own: Callable[[Address], bool]) -> Packet | None:
    """Return what a received packet carries if it is a provider's probe: our echo reply to it."""
    inner = _carried(packet)
    if inner is None or not is_echo_reply(inner):
        return None
    return inner if inner.remote == packet.local or is_own(inner.remote) else None


def is_echo_reply(packet: Packet) -> bool:
    """Whether a packet is what a health check carries."""
    return packet.icmp_type == ECHO_REPLY[packet.family]


def is_answer(packet: Packet) -> bool:
    """Whether a packet is what a keepalive carries, by its GRE header, which ends it."""
    gre = packet.gre
    if gre is None or packet.gre_length - gre.size not in KEEPALIVE_BODIES:
        return False
    # RouterOS has the protocol of IPv6 in what it sends over IPv6.
    return gre.protocol == 0 or (packet.family == 6 and gre.protocol == ETH_P_IPV6)


def _carried(packet: Packet) -> Packet | None:
    gre, inner = packet.gre, packet.inner
    if gre is None or inner is None or inner.protocol not in (GRE, *ICMP):
        return None
    if gre.protocol not in (ETH_P_IP, ETH_P_IPV6):
        return None
    return parse_packet(packet.payload, packet.gre_length - gre.size)
