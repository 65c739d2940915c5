# SPDX-License-Identifier: GPL-2.0-only
"""The records of bpf/gretrace.h as user space reads them.

tests/contract holds every offset, size and value against the BTF of the built objects.
Numbers are in host byte order; addresses are 16 bytes in network order, an IPv4
address in the first four.
"""

import ctypes
from enum import IntEnum, IntFlag
from typing import ClassVar

SAMPLE_SIZE = 128
PLACE_SIZE = 64
NAME_SIZE = 16
LOOKUP_WINDOW_NS = 100_000_000
HEADER_SIZE = 64
RESPONDER_RATE = 1000
RESPONDER_BURST_NS = 1_000_000_000


class DropMark(IntFlag):
    """enum drop_mark."""

    ON_TUNNEL = 1
    PULLED = 2
    ROUTED = 8
    SENT = 16
    CE = 32
    UNSUMMED = 64
    IN_UDP = 128
    BRIDGED = 256
    ALIKE = 512
    ODD = 1024


class FilterMatch(IntFlag):
    """enum filter_match."""

    NETNS = 1
    IFINDEX = 2
    REMOTE = 4
    LOCAL = 8
    KEY = 16
    NO_KEY = 32


class LookupMark(IntFlag):
    """enum lookup_mark."""

    SESSION_KEY = 4
    ODD = 1024


class GreTuple(ctypes.Structure):
    """struct gre_tuple."""

    _fields_: ClassVar = [
        ("netns", ctypes.c_uint32),
        ("netns_cookie", ctypes.c_uint32),
        ("ifindex", ctypes.c_uint32),
        ("gre_key", ctypes.c_uint32),
        ("remote", ctypes.c_uint8 * 16),
        ("local", ctypes.c_uint8 * 16),
        ("gre_flags", ctypes.c_uint16),
        ("gre_protocol", ctypes.c_uint16),
        ("family", ctypes.c_uint8),
        ("protocol", ctypes.c_uint8),
        ("marks", ctypes.c_uint16),
    ]


class TupleFilter(ctypes.Structure):
    """struct tuple_filter."""

    _fields_: ClassVar = [
        ("match", ctypes.c_uint32),
        ("netns", ctypes.c_uint32),
        ("ifindex", ctypes.c_uint32),
        ("gre_key", ctypes.c_uint32),
        ("remote", ctypes.c_uint8 * 16),
        ("local", ctypes.c_uint8 * 16),
    ]


class Generation(ctypes.Structure):
    """struct generation."""

    _fields_: ClassVar = [("number", ctypes.c_uint32)]


class DropKey(ctypes.Structure):
    """struct drop_key."""

    _fields_: ClassVar = [
        ("location", ctypes.c_uint64),
        ("reason", ctypes.c_uint32),
        ("tuple", GreTuple),
        ("leaving_by", ctypes.c_uint32),
    ]


class DropStats(ctypes.Structure):
    """struct drop_stats."""

    _fields_: ClassVar = [
        ("count", ctypes.c_uint64),
        ("first_ns", ctypes.c_uint64),
        ("last_ns", ctypes.c_uint64),
        ("length", ctypes.c_uint32),
        ("sample_length", ctypes.c_uint32),
        ("sample", ctypes.c_uint8 * SAMPLE_SIZE),
    ]


class DeathKey(ctypes.Structure):
    """struct death_key."""

    _fields_: ClassVar = [
        ("location", ctypes.c_uint64),
        ("reason", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
    ]


class Death(ctypes.Structure):
    """struct death."""

    _fields_: ClassVar = [
        ("overflow", ctypes.c_uint64),
        ("generation", ctypes.c_uint32),
        ("kinds", ctypes.c_uint32),
        ("place", ctypes.c_uint8 * PLACE_SIZE),
    ]


class DropRoom(ctypes.Structure):
    """struct drop_room."""

    _fields_: ClassVar = [("own", ctypes.c_uint32), ("shared", ctypes.c_uint32)]


class DropTotals(ctypes.Structure):
    """struct drop_totals."""

    _fields_: ClassVar = [
        ("overflow", ctypes.c_uint64),
        ("generation", ctypes.c_uint32),
        ("kinds", ctypes.c_uint32),
    ]


class LookupKey(ctypes.Structure):
    """struct lookup_key."""

    _fields_: ClassVar = [
        ("tuple", GreTuple),
        ("tunnel", ctypes.c_uint32),
        ("tunnel_netns", ctypes.c_uint32),
    ]


class LookupStats(ctypes.Structure):
    """struct lookup_stats."""

    _fields_: ClassVar = [
        ("count", ctypes.c_uint64),
        ("first_ns", ctypes.c_uint64),
        ("last_ns", ctypes.c_uint64),
        ("tunnel_name", ctypes.c_char * NAME_SIZE),
    ]


class LookupEvent(ctypes.Structure):
    """struct lookup_event."""

    _fields_: ClassVar = [
        ("time_ns", ctypes.c_uint64),
        ("key", LookupKey),
        ("tunnel_name", ctypes.c_char * NAME_SIZE),
    ]


class LookupTotals(ctypes.Structure):
    """struct lookup_totals."""

    _fields_: ClassVar = [
        ("overflow", ctypes.c_uint64),
        ("not_shown", ctypes.c_uint64),
        ("ring_full", ctypes.c_uint64),
        ("generation", ctypes.c_uint32),
        ("kinds", ctypes.c_uint32),
    ]


class LookupBudget(ctypes.Structure):
    """struct lookup_budget."""

    _fields_: ClassVar = [("events", ctypes.c_uint32), ("kinds", ctypes.c_uint32)]


class ResponderDialect(IntFlag):
    """enum responder_dialect."""

    NAT = 1
    INSIDE = 2


class ResponderOutcome(IntEnum):
    """enum responder_outcome."""

    PASSED = 0
    ANSWERED = 1
    FOREIGN = 2
    OWN_ANSWER = 3
    TRUNCATED = 4
    FRAGMENT = 5
    MALFORMED = 6
    LIMITED = 7


class ResponderConfig(ctypes.Structure):
    """struct responder_config."""

    _fields_: ClassVar = [
        ("local", ctypes.c_uint8 * 16),
        ("remote", ctypes.c_uint8 * 16),
        ("inside_local", ctypes.c_uint8 * 16),
        ("inside_remote", ctypes.c_uint8 * 16),
        ("dialects", ctypes.c_uint32),
        ("underlay", ctypes.c_uint32),
        ("rate", ctypes.c_uint32),
        ("family", ctypes.c_uint8),
        ("verbose", ctypes.c_uint8),
        ("outer_size", ctypes.c_uint8),
        ("padding", ctypes.c_uint8),
    ]


class ResponderCounters(ctypes.Structure):
    """struct responder_counters."""

    _fields_: ClassVar = [
        ("packets", ctypes.c_uint64 * len(ResponderOutcome)),
        ("last_answered_ns", ctypes.c_uint64),
        ("last_refused_ns", ctypes.c_uint64),
        ("due_ns", ctypes.c_uint64),
    ]


class ResponderEvent(ctypes.Structure):
    """struct responder_event."""

    _fields_: ClassVar = [
        ("time_ns", ctypes.c_uint64),
        ("outcome", ctypes.c_uint32),
        ("header_length", ctypes.c_uint32),
        ("header", ctypes.c_uint8 * HEADER_SIZE),
    ]
