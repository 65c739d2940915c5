# SPDX-License-Identifier: GPL-2.0-only
"""Bytes of the BPF programs to events. Total: no input raises."""

import ctypes
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from gretrace.engine.contract import (
    DropKey,
    DropMark,
    DropStats,
    GreTuple,
    LookupKey,
    LookupMark,
    ResponderEvent,
    ResponderOutcome,
)
from gretrace.kernel import receive, send
from gretrace.model import (
    MPLS,
    Address,
    Decision,
    Drop,
    Keepalive,
    Label,
    Packet,
    Place,
    Tuple,
)
from gretrace.wire.packet import IPV4_MIN, internet_checksum, parse_packet

# "gre_rcv+0x12d/0x560 [ip_gre]"; compilers add ".isra.0", ".constprop.0", ".cold" to a name.
_SYMBOL = re.compile(
    r"(?P<function>[A-Za-z_]\w*)[.\w]*(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?(?: \[(?P<module>\w+)\])?"
)

# An enum's & takes ten times as long as a number's, and drops come by the thousand.
_ON_TUNNEL, _PULLED = int(DropMark.ON_TUNNEL), int(DropMark.PULLED)
_ROUTED, _SENT_MARK = int(DropMark.ROUTED), int(DropMark.SENT)
_UNSUMMED, _IN_UDP, _BRIDGED = (
    int(mark) for mark in (DropMark.UNSUMMED, DropMark.IN_UDP, DropMark.BRIDGED)
)
_PLACES_AT_MOST = 1024
# An entry of a stack of labels (RFC 3032, section 2.1).
LABEL_SIZE, LAST_LABEL = 4, 0x100
VLAN_ID = 0xFFF  # of a tag of IEEE 802.1Q


def decode_drop(
    key: bytes, stats: bytes, place: bytes, reasons: Mapping[int, str], clock_offset_ns: int
) -> Drop:
    """Read one entry of the map `drops`.

    `place` is the kernel's name for where it was (%pB), empty where that is not known;
    `reasons` names the values of the running kernel's enum skb_drop_reason;
    `clock_offset_ns` is CLOCK_REALTIME less CLOCK_MONOTONIC.
    Missing bytes count as zeros.
    """
    k = DropKey.from_buffer_copy(key.ljust(ctypes.sizeof(DropKey), b"\0"))
    s = DropStats.from_buffer_copy(stats.ljust(ctypes.sizeof(DropStats), b"\0"))
    seen, marks = k.tuple, k.tuple.marks
    named = parse_place(place, k.location)
    sample, is_mpls = bytes(s.sample)[: s.sample_length], seen.gre_protocol in MPLS
    is_mpls = is_mpls and not (seen.gre_flags or seen.family)
    packet = None if is_mpls else parse_packet(sample, s.length, in_udp=marks & _IN_UDP != 0)
    if packet and packet.gre and marks & _UNSUMMED:
        # The bytes do not say it yet, and the kernel does not ask them (skb_csum_unnecessary()).
        packet = replace(packet, gre=replace(packet.gre, checksum_valid=True))
    drop = Drop(
        place=named,
        reason=reasons.get(k.reason, f"reason {k.reason:#x}") if reasons else None,
        netns=seen.netns,
        netns_cookie=seen.netns_cookie,
        ifindex=seen.ifindex,
        on_tunnel=marks & _ON_TUNNEL != 0,
        packet=packet,
        count=s.count,
        first_ns=s.first_ns + clock_offset_ns,
        last_ns=s.last_ns + clock_offset_ns,
        protocol=seen.gre_protocol if packet is None or packet.gre is None else None,
        is_pulled=marks & _PULLED != 0,
        is_routed=marks & _ROUTED != 0,
        is_sent=not k.leaving_by and is_sent(named, marks & _SENT_MARK != 0),
        leaving_by=k.leaving_by,
        below=_outer(seen) if marks & _BRIDGED else None,
        label=_label(sample, seen.gre_key) if is_mpls else None,
        vlan=0 if is_mpls or seen.gre_flags or marks & _BRIDGED else seen.gre_key & VLAN_ID,
    )
    if packet and packet.gre and receive.is_refusal(drop, packet.family):
        # A tunnel refuses a packet after its checksum was found right.
        gre = replace(packet.gre, checksum_valid=True if packet.gre.has_checksum else None)
        return replace(drop, packet=replace(packet, gre=gre))
    return drop


def _label(sample: bytes, entry: int) -> Label | None:
    """Read an entry of a stack of labels; None where the kernel had taken off the last of them."""
    size = (sample[0] & 0xF) * 4 if sample and sample[0] >> 4 == 4 else 0
    if len(sample) < LABEL_SIZE or (size >= IPV4_MIN and not internet_checksum(sample[:size])):
        return None
    return Label(entry >> 12, is_last=bool(entry & LAST_LABEL))


def _outer(seen: GreTuple) -> Tuple:
    family, remote, local = _ends(seen.family, bytes(seen.remote), bytes(seen.local))
    flags = tuple(flag for flag, bit in _FLAGS if seen.gre_flags & bit)
    key = seen.gre_key if seen.gre_flags & _KEY else None
    return Tuple(family, remote, local, key, flags, seen.gre_protocol)


def _ends(family: int, remote: bytes, local: bytes) -> tuple[int, Address, Address]:
    if family == 6:
        return 6, IPv6Address(remote), IPv6Address(local)
    return 4, IPv4Address(remote[:4]), IPv4Address(local[:4])


def is_sent(place: Place, marked: bool) -> bool:
    """Whether a packet was on its way out, from where it died and what the program saw."""
    # What came in by a tunnel may leave by the same, and has its device all the time.
    if place.function in send.FUNCTIONS:
        return True
    # __iptunnel_pull_header() wipes what tells a received packet from one that this host made
    # (skb_scrub_packet()), so from there on the place must tell.
    return marked and place.function not in receive.FUNCTIONS


# Decisions come by the thousand: one unpacking each, and of an equal one nothing anew.
_EVENT = struct.Struct(f"=Q{ctypes.sizeof(LookupKey)}s16s")
_ENTRY = struct.Struct("=QQQ16s")
_SEEN_AT_MOST = 65536
_FLAGS = (("csum", 0x8000), ("key", 0x2000), ("seq", 0x1000))
_KEY = 0x2000

# From `netns` to `tunnel_netns` of a Decision.
_Choice: TypeAlias = tuple[
    int,
    int,
    int,
    Address,
    Address,
    int | None,
    tuple[str, ...],
    int,
    int | None,
    str | None,
    int | None,
]


def decode_decision(record: bytes, clock_offset_ns: int) -> Decision:
    """Read one record of the ring `decisions`; missing bytes count as zeros.

    `clock_offset_ns` is CLOCK_REALTIME less CLOCK_MONOTONIC.
    """
    if len(record) != _EVENT.size:
        record = record[: _EVENT.size].ljust(_EVENT.size, b"\0")
    time_ns, key, name = _EVENT.unpack(record)
    time_ns += clock_offset_ns
    choice, netns_cookie = _read_choice(key, name)
    return Decision(time_ns, *choice, 1, time_ns, netns_cookie)


def decode_lookup_entry(key: bytes, stats: bytes, clock_offset_ns: int) -> Decision:
    """Read one entry of the map `lookups`: all decisions that were alike, counted.

    The arguments are as in decode_decision().
    """
    size = ctypes.sizeof(LookupKey)
    count, first_ns, last_ns, name = _ENTRY.unpack(stats[: _ENTRY.size].ljust(_ENTRY.size, b"\0"))
    choice, netns_cookie = _read_choice(key[:size].ljust(size, b"\0"), name)
    first_ns += clock_offset_ns
    return Decision(last_ns + clock_offset_ns, *choice, count, first_ns, netns_cookie)


@lru_cache(_SEEN_AT_MOST)
def _read_choice(key: bytes, name: bytes) -> tuple[_Choice, int]:
    k = LookupKey.from_buffer_copy(key)
    t = k.tuple
    family, remote, local = _ends(t.family, bytes(t.remote), bytes(t.local))
    has_key = t.gre_flags & _KEY or t.marks & LookupMark.SESSION_KEY
    choice = (
        t.netns,
        t.ifindex,
        family,
        remote,
        local,
        t.gre_key if has_key else None,
        tuple(flag for flag, bit in _FLAGS if t.gre_flags & bit),
        t.gre_protocol,
        k.tunnel or None,
        os.fsdecode(name.split(b"\0", 1)[0]) if k.tunnel else None,
        k.tunnel_netns if k.tunnel else None,
    )
    return choice, t.netns_cookie


OUTCOMES = {
    ResponderOutcome.PASSED: "passed",
    ResponderOutcome.ANSWERED: "answered",
    ResponderOutcome.FOREIGN: "foreign",
    ResponderOutcome.OWN_ANSWER: "own-answer",
    ResponderOutcome.TRUNCATED: "truncated",
    ResponderOutcome.FRAGMENT: "fragment",
    ResponderOutcome.MALFORMED: "malformed",
    ResponderOutcome.LIMITED: "limited",
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


@lru_cache(_PLACES_AT_MOST)
def parse_place(text: bytes, location: int) -> Place:
    """Read the kernel's %pB of an address; where there is none, the address itself."""
    symbol = text.split(b"\0", 1)[0].decode("ascii", "replace")
    match = _SYMBOL.match(symbol)
    if match is None:
        return Place(f"{location:#x}")
    return Place(match["function"], match["module"])
