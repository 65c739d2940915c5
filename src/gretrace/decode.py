"""Bytes of the BPF programs to events. Total: no input raises."""

import ctypes
import re
from collections.abc import Mapping

from gretrace.contract import DropKey, DropMark, DropStats, ResponderEvent, ResponderOutcome
from gretrace.model import Drop, Keepalive, Packet, Place
from gretrace.packet import parse_packet

# "gre_rcv+0x12d/0x560 [ip_gre]"; compilers add ".isra.0", ".constprop.0", ".cold" to a name.
_SYMBOL = re.compile(
    r"(?P<function>[A-Za-z_]\w*)[.\w]*(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?(?: \[(?P<module>\w+)\])?"
)


def decode_drop(key: bytes, stats: bytes, reasons: Mapping[int, str], clock_offset_ns: int) -> Drop:
    """Read one entry of the map `drops`.

    `reasons` names the values of the running kernel's enum skb_drop_reason;
    `clock_offset_ns` is CLOCK_REALTIME less CLOCK_MONOTONIC.
    Missing bytes count as zeros.
    """
    k = DropKey.from_buffer_copy(key.ljust(ctypes.sizeof(DropKey), b"\0"))
    s = DropStats.from_buffer_copy(stats.ljust(ctypes.sizeof(DropStats), b"\0"))
    sample = bytes(s.sample)[: s.sample_length]
    return Drop(
        place=parse_place(bytes(s.place), k.location),
        reason=reasons.get(k.reason, f"reason {k.reason:#x}") if reasons else None,
        netns=k.netns,
        ifindex=k.ifindex,
        on_tunnel=bool(k.marks & DropMark.ON_TUNNEL),
        packet=parse_packet(sample, s.length),
        count=s.count,
        first_ns=s.first_ns + clock_offset_ns,
        last_ns=s.last_ns + clock_offset_ns,
    )


OUTCOMES = {
    ResponderOutcome.PASSED: "passed",
    ResponderOutcome.ANSWERED: "answered",
    ResponderOutcome.FOREIGN: "foreign",
    ResponderOutcome.OWN_ANSWER: "own-answer",
    ResponderOutcome.TRUNCATED: "truncated",
    ResponderOutcome.FRAGMENT: "fragment",
    ResponderOutcome.MALFORMED: "malformed",
}


def decode_keepalive(record: bytes, tunnel: str, clock_offset_ns: int) -> Keepalive:
    """Read one record of the ring `events`; missing bytes count as zeros."""
    event = ResponderEvent.from_buffer_copy(record.ljust(ctypes.sizeof(ResponderEvent), b"\0"))
    header = bytes(event.header)[: event.header_length]
    return Keepalive(
        tunnel=tunnel,
        time_ns=event.time_ns + clock_offset_ns,
        outcome=OUTCOMES.get(event.outcome, f"outcome {event.outcome}"),
        header=header,
        inner=_innermost(header),
    )


def _innermost(header: bytes) -> Packet | None:
    """Find what a keepalive carries, whether the program was shown its outer headers or not."""
    packet = parse_packet(header)
    if packet and packet.payload:
        return parse_packet(packet.payload) or packet
    return packet


def parse_place(text: bytes, location: int) -> Place:
    """Read the kernel's %pB of an address; where there is none, the address itself."""
    symbol = text.split(b"\0", 1)[0].decode("ascii", "replace")
    match = _SYMBOL.match(symbol)
    if match is None:
        return Place(f"{location:#x}")
    return Place(match["function"], match["module"])
