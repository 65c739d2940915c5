# SPDX-License-Identifier: GPL-2.0-only
"""Tunnels and their responders as tables and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gretrace.kernel.kinds import kind_of
from gretrace.model import Address, Responder, Tunnel
from gretrace.render.door import Shown, json_lines, line, table
from gretrace.render.record import show_time

# What each counter of a GRE device means (net/ipv4/ip_tunnel.c), in the order of the table.
ERRORS = {
    "rx_crc_errors": "checksum flag differs",
    "rx_fifo_errors": "sequence missing or old",
    "rx_frame_errors": "ECN mark not allowed",
    "rx_dropped": "not handled after the tunnel",
    "tx_carrier_errors": "no route to the remote",
    "collisions": "route to the remote leads into the tunnel",
    "tx_aborted_errors": "sending failed",
    "tx_dropped": "not sent",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A tunnel, what it has carried, and its responder."""

    tunnel: Tunnel
    counters: Mapping[str, int]
    responder: Responder | None
    why: str | None = None  # why the responder is on its hook, where that was decided just now


def to_record(listed: Listed) -> dict[str, Any]:
    """Build the JSON object of a tunnel; absent values are None."""
    tunnel, counters = listed.tunnel, listed.counters
    return {
        "name": tunnel.name,
        "kind": tunnel.kind,
        "netns": tunnel.netns,
        "local": _text(tunnel.local),
        "remote": _text(tunnel.remote),
        "ikey": tunnel.ikey,
        "okey": tunnel.okey,
        "iflags": _flags(csum=tunnel.icsum, key=tunnel.ikey is not None, seq=tunnel.iseq),
        "oflags": _flags(csum=tunnel.ocsum, key=tunnel.okey is not None, seq=tunnel.oseq),
        "link": tunnel.link_name,
        "link_ifindex": tunnel.link,
        "ifindex": tunnel.ifindex,
        "up": tunnel.up,
        "external": tunnel.external,
        "fallback": tunnel.fallback,
        "ttl": tunnel.ttl,
        "tos": tunnel.tos,
        "pmtudisc": tunnel.pmtudisc,
        "ignore_df": tunnel.ignore_df,
        "stray_ikey": tunnel.stray_ikey,
        "moved": tunnel.moved,
        "mtu": tunnel.mtu,
        "erspan_ver": tunnel.erspan_version if kind_of(tunnel).erspan else None,
        "encaplimit": tunnel.encap_limit,
        "encap": asdict(tunnel.encap) if tunnel.encap else None,
        "rx_packets": counters.get("rx_packets"),
        "tx_packets": counters.get("tx_packets"),
        "errors": {ERRORS[name]: counters[name] for name in ERRORS if counters.get(name)},
        "responder": _responder(listed.responder),
    }


def to_lines(listing: Sequence[Listed]) -> Shown:
    """Build one JSON object a line."""
    return json_lines(map(to_record, listing))


def responder_lines(listing: Sequence[Listed]) -> Shown:
    """Build the JSON objects of `gretrace respond`, one a line."""
    names = ("name", "kind", "netns", "local", "remote", "ikey", "okey", "up", "responder")
    records = [
        {**{name: to_record(listed)[name] for name in names}, "why": listed.why}
        for listed in listing
    ]
    return json_lines(records)


def tunnel_table(listing: Sequence[Listed], now_ns: int) -> Shown:
    """Make the table of `gretrace tunnels`; `now_ns` is CLOCK_REALTIME."""
    rows = [
        {
            "tunnel": listed.tunnel.name,
            "kind": listed.tunnel.kind,
            **_ends(listed.tunnel),
            "state": "up" if listed.tunnel.up else "down",
            "rx": listed.counters.get("rx_packets", "-"),
            "tx": listed.counters.get("tx_packets", "-"),
            "errors": _errors(listed.counters),
            "responder": _show_responder(listed.responder, now_ns),
        }
        for listed in listing
    ]
    return table(rows) if rows else line("No GRE tunnel.")


def responder_table(listing: Sequence[Listed]) -> Shown:
    """Make the table of `gretrace respond`."""
    rows = [
        {
            "interface": listed.tunnel.name,
            **_ends(listed.tunnel),
            "hook": listed.responder.hook if listed.responder else "none",
            "program": listed.responder.program_id if listed.responder else "-",
            "why": listed.why or "",
        }
        for listed in listing
    ]
    return table(rows)


def show_age(nanoseconds: int) -> str:
    """Write a time span in the largest unit of which it has two; one below zero counts as none."""
    seconds = max(nanoseconds, 0) // 1_000_000_000
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _ends(tunnel: Tunnel) -> dict[str, object]:
    key = "none" if tunnel.ikey is None else str(tunnel.ikey)
    if tunnel.ikey != tunnel.okey:
        key += f" in, {'none' if tunnel.okey is None else tunnel.okey} out"
    return {"local": tunnel.local or "any", "remote": tunnel.remote or "any", "key": key}


def _errors(counters: Mapping[str, int]) -> str:
    seen = [f"{counters[name]} {words}" for name, words in ERRORS.items() if counters.get(name)]
    return "; ".join(seen) or "-"


def _show_responder(responder: Responder | None, now_ns: int) -> str:
    if responder is None:
        return "-"
    words = f"{responder.hook}, {responder.answered} answered"
    refused = sum(responder.refused.values())
    if refused:
        words += f", {refused} refused"
    if responder.last_answered_ns:
        words += f", last answered {show_age(now_ns - responder.last_answered_ns)} ago"
    return words


def _responder(responder: Responder | None) -> dict[str, Any] | None:
    if responder is None:
        return None
    last = responder.last_answered_ns
    return {
        "hook": responder.hook,
        "program_id": responder.program_id,
        "answered": responder.answered,
        "refused": responder.refused,
        "last_answered": show_time(last) if last else None,
    }


def _flags(**present: bool) -> list[str]:
    return [name for name, there in present.items() if there]


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)
