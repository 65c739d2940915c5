# SPDX-License-Identifier: GPL-2.0-only
"""A host that receives packets as the kernel would, and remembers what it remembers."""

from collections.abc import MutableMapping
from dataclasses import dataclass, field

from gretrace.kernel import receive
from gretrace.kernel.lookup import Tables
from gretrace.kernel.passage import Passage
from gretrace.kernel.receive import NUMBERS, WAYS
from gretrace.kernel.surroundings import Nowhere, Surroundings
from gretrace.kernel.way import By, Free, Step
from gretrace.model import Drop, Packet, Tunnel
from gretrace.wire.packet import parse_packet


@dataclass(frozen=True, slots=True)
class Ended:
    """Where a packet would have been freed."""

    step: Step[Passage]
    passage: Passage

    @property
    def free(self) -> Free:
        """How the kernel frees it."""
        return self.step.free(self.passage.family or 4)

    def drop(self, netns: int, time_ns: int) -> Drop:
        """Return what the kernel's tracepoint would have told, at a time in nanoseconds."""
        passage, by_then = self.passage, self.free.by_then
        packet, ifindex, protocol = passage.packet, passage.link or 0, None
        tunnel, carried = passage.tunnel, passage.carried
        if by_then is By.INNER and tunnel and carried:
            packet, ifindex = parse_packet(carried.data, carried.length), tunnel.ifindex
            protocol = carried.protocol if packet is None or packet.gre is None else None
        return Drop(
            place=self.free.place,
            reason=None,
            netns=netns,
            ifindex=ifindex,
            on_tunnel=by_then is By.INNER,
            packet=packet,
            count=1,
            first_ns=time_ns,
            last_ns=time_ns,
            protocol=protocol,
            is_pulled=by_then is By.PULLED,
        )


@dataclass
class Receiver:
    """Receives packets one after the other."""

    tables: Tables
    host: Surroundings = field(default_factory=Nowhere)
    # By ifindex; as i_seqno of struct ip_tunnel, 0 before the first packet.
    sequences: MutableMapping[int, int] = field(default_factory=dict)

    def receive(self, packet: Packet, link: int) -> Tunnel | Ended | None:
        """Return the tunnel that takes a packet, or where it would have been freed.

        What is not known of a packet is taken to be no fault of it; None when too little of it
        was captured to tell the tunnel.
        """
        passage = Passage(packet, self.tables, link, self.host, self.sequences)
        way = WAYS[packet.family]
        step = way.walk(passage).step
        if step is None or way.is_behind(step, receive.old_sequence):
            self._remember(passage)
        if step:
            return Ended(step, passage)
        return passage.tunnel

    def _remember(self, passage: Passage) -> None:
        tunnel, gre = passage.tunnel, passage.gre
        if tunnel and tunnel.iseq and gre and gre.sequence is not None:
            self.sequences[tunnel.ifindex] = (gre.sequence + 1) % NUMBERS
