# SPDX-License-Identifier: GPL-2.0-only
"""What can watch GRE traffic: gretrace and what one would use instead. A tool is one entry."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

GRETRACE = str(Path(sys.executable).with_name("gretrace"))
PEERS = Path(".cache/peers")


def increments(pattern):
    """Return what adds up the numbers that a tool tells, each counted since the one before."""
    return lambda said: sum(int(number) for number in re.findall(pattern, said))


def totals(*patterns):
    """Return what adds up the last number of each pattern, where a tool tells running totals."""
    return lambda said: sum(int((re.findall(pattern, said) or ["0"])[-1]) for pattern in patterns)


@dataclass(frozen=True)
class Tool:
    """Something that watches, how it is called, and how one knows that it does."""

    name: str
    command: tuple[str, ...]
    foreign: bool = False  # lives in the root of .cache/peers, in the package of its name
    needs: tuple[str, ...] = ()  # Debian packages, beside those that every tool of its kind needs
    seen: bytes = b"20.1.1."  # what it says once it has seen a packet
    shows_packets: bool = True  # prints lines for each packet, so that lines are events
    told: Callable[[str], int] | None = None  # how many events it says that it did not show
    polls: bool = False  # asks for events without a rest, so that it is never idle
    most: int | None = None  # packets at once: with more it would lose events, which cost nothing


# How `lookup --follow` says what it counted only, over its budget or with its ring full.
COUNTED_ONLY = totals(
    r"(\d+) packets so far were counted", r"(\d+) lookups were counted but not shown"
)
LOST = increments(r"Lost (\d+) events")
DROPPED = totals(r"(\d+) packets? dropped by kernel")
RECEIVE_PATH = (
    "^(netif_rx|__netif_receive_skb_core|ip_rcv|ip_rcv_core|ip_rcv_finish_core|ip_local_deliver"
    "|ip_protocol_deliver_rcu|iptunnel_pull_header|gro_cells_receive|udp_rcv|udp_queue_rcv_skb"
    "|sk_skb_reason_drop|kfree_skbmem)$"
)
EXPLAIN = (GRETRACE, "explain-drop")
FOLLOW = (GRETRACE, "lookup", "--follow")
BCC, BY_BCC = ("--engine", "bcc"), ("python3-bpfcc",)
PWRU = ("pwru", "proto", "47")
PWRU_DOZEN = ("pwru", "--filter-func", RECEIVE_PATH, "proto", "47")
TOOLS = [
    Tool("nothing", ()),
    Tool("explain-drop", EXPLAIN, shows_packets=False),
    Tool("lookup --follow", FOLLOW, told=COUNTED_ONLY),
    Tool("lookup --follow -o json", (*FOLLOW, "-o", "json"), told=COUNTED_ONLY),
    Tool("lookup --follow --rate 0", (*FOLLOW, "--rate", "0"), told=COUNTED_ONLY),
    Tool("explain-drop --engine bcc", (*EXPLAIN, *BCC), shows_packets=False, needs=BY_BCC),
    Tool("lookup --follow --engine bcc", (*FOLLOW, *BCC), told=COUNTED_ONLY, needs=BY_BCC),
    Tool("bpftrace, printing", ("bpftrace", "/scripts/printing.bt"), foreign=True, told=LOST),
    Tool(
        "bpftrace, counting", ("bpftrace", "/scripts/counting.bt"), foreign=True,
        shows_packets=False, seen=b"ready",
    ),
    Tool("tcpdump", ("tcpdump", "-lni", "vb", "proto", "47"), foreign=True, told=DROPPED),
    # Its queue holds 10,000 events (MAX_QUEUE_ENTRIES) and what does not fit is gone unsaid: a
    # flood tells what is lost, few packets what each costs.
    Tool("pwru", PWRU, foreign=True, seen=b"0xffff", polls=True),
    Tool("pwru, 100 packets", PWRU, foreign=True, seen=b"0xffff", polls=True, most=100),
    Tool("pwru, a dozen functions", PWRU_DOZEN, foreign=True, seen=b"0xffff", polls=True),
    Tool(
        "pwru, a dozen functions, 500 packets", PWRU_DOZEN, foreign=True, seen=b"0xffff",
        polls=True, most=500,
    ),
]  # fmt: skip


def chosen(names):
    return [tool for tool in TOOLS if not names or tool.name in names]
