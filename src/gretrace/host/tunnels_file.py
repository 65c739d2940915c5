# SPDX-License-Identifier: GPL-2.0-only
"""Tunnels from a file: the output of `gretrace tunnels -o json` or of `ip -d -j link show`."""

import json
import re
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

from gretrace.errors import UsageError
from gretrace.host.entry import REMEDY, Entry
from gretrace.kernel.kinds import DEFAULT_LIMIT, FALLBACKS, KINDS
from gretrace.model import Tunnel

STDIN = "-"
NUMBER = 20  # digits and more than the fields of a tunnel have


def read_tunnels(source: str) -> list[Tunnel]:
    """Read the tunnels in a file, or from standard input if `source` is "-", in its order.

    Where the file does not tell the index of a link that tunnels are bound to, the link gets
    a negative one of its own, in `Tunnel.link`. `netns` is 0 where the file tells none.

    Raises UsageError when the file cannot be read, or says anything else than tunnels.
    """
    name = "standard input" if source == STDIN else source
    return parse_tunnels(_read(source, name), name)


def parse_tunnels(text: str, name: str) -> list[Tunnel]:
    """Read the tunnels that a text describes; `name` is what errors call it.

    Raises UsageError as read_tunnels() does.
    """
    if text.lstrip().startswith("["):
        return _parse_links(_entries(_load(text, name), name), name)
    lines = enumerate(text.splitlines(), 1)
    places = [(line, f"{name}, line {number}") for number, line in lines if line.strip()]
    return _parse_records([Entry(_load(line, place), place) for line, place in places])


class _Numbers:
    """The indexes of links by name; one that the file does not tell is made up, below zero."""

    def __init__(self, links: Iterable[tuple[str, int]]) -> None:
        self._numbers = dict(links)
        self._free = count(-1, -1)

    def knows(self, name: str) -> bool:
        return name in self._numbers

    def of(self, name: str | None) -> int:
        if name is None:
            return 0
        if name not in self._numbers:
            self._numbers[name] = next(self._free)
        return self._numbers[name]


def _parse_records(entries: list[Entry]) -> list[Tunnel]:
    numbers = _Numbers((entry.text("name"), entry.number("ifindex")) for entry in entries)
    return [_parse_record(entry, numbers) for entry in entries]


def _parse_record(entry: Entry, numbers: _Numbers) -> Tunnel:
    """Read what to_record() of gretrace.render.listing writes."""
    name, kind = entry.text("name"), entry.kind("kind")
    iflags, oflags = entry.texts("iflags"), entry.texts("oflags")
    link_name = None if entry.fields.get("link") is None else entry.text("link")
    for field in ("ikey", "okey"):
        # None means no key here, so it must have been written.
        if field not in entry.fields:
            entry.fail(field, "a GRE key")
    return Tunnel(
        name=name,
        ifindex=entry.number("ifindex"),
        netns=entry.number("netns", 0),
        kind=kind,
        local=entry.address("local", kind),
        remote=entry.address("remote", kind),
        ikey=entry.key("ikey"),
        okey=entry.key("okey"),
        icsum="csum" in iflags,
        ocsum="csum" in oflags,
        iseq="seq" in iflags,
        oseq="seq" in oflags,
        link=entry.number("link_ifindex", numbers.of(link_name)),
        link_name=link_name,
        up=entry.truth("up"),
        external=entry.truth("external", default=False),
        fallback=entry.truth("fallback", default=name in FALLBACKS),
        ttl=entry.number("ttl", 0),
        tos=entry.number("tos", 0),
        pmtudisc=entry.truth("pmtudisc", default=True),
        ignore_df=entry.truth("ignore_df", default=False),
        mtu=entry.number("mtu", 0),
        moved=entry.truth("moved", default=False),
        stray_ikey=entry.key("stray_ikey") or 0,
        erspan_version=entry.erspan_version(kind),
        encap_limit=_encap_limit(entry, kind),
        encap=entry.encap(),
    )


def _encap_limit(entry: Entry, kind: str) -> int | None:
    if KINDS[kind].family == 4 or entry.fields.get("encaplimit", DEFAULT_LIMIT) is None:
        return None
    return entry.number("encaplimit", DEFAULT_LIMIT)


def _parse_links(entries: list[Entry], name: str) -> list[Tunnel]:
    """Read what print_linkinfo() of iproute2's ip/ipaddress.c writes."""
    links = [(entry.text("ifname"), entry.number("ifindex")) for entry in entries]
    # `promiscuity` is one of the details of every link, `linkinfo` only of a virtual one.
    if entries and not any({"linkinfo", "promiscuity"} & e.fields.keys() for e in entries):
        raise UsageError(
            f"{name} has no details of the links, so no tunnels", "give the output of `ip -d -j`"
        )
    numbers = _Numbers(links)
    return [_parse_link(entry, numbers) for entry in entries if _kind_of(entry) in KINDS]


def _kind_of(entry: Entry) -> str | None:
    kind = entry.inside("linkinfo").fields.get("info_kind") if "linkinfo" in entry.fields else None
    return kind if isinstance(kind, str) else None


def _parse_link(entry: Entry, numbers: _Numbers) -> Tunnel:
    """Read what gre_print_opt() of iproute2's ip/link_gre.c writes, and its twin for IPv6."""
    info = entry.inside("linkinfo")
    kind, data = info.kind("info_kind"), info.inside("info_data")
    name = entry.text("ifname")
    link, link_name = _bound_to(entry, data, numbers)
    return Tunnel(
        name=name,
        ifindex=entry.number("ifindex"),
        netns=0,
        kind=kind,
        local=data.address("local", kind),
        remote=data.address("remote", kind),
        ikey=data.key("ikey"),
        okey=data.key("okey"),
        icsum=data.truth("icsum", default=False),
        ocsum=data.truth("ocsum", default=False),
        iseq=data.truth("iseq", default=False),
        oseq=data.truth("oseq", default=False),
        link=link,
        link_name=link_name,
        up="UP" in entry.texts("flags"),
        external=data.truth("external", default="collect_metadata" in data.fields),
        fallback=name in FALLBACKS,
        ttl=_octet(data, "ttl"),
        tos=_octet(data, "tos"),
        pmtudisc=data.truth("pmtudisc", default=False),
        ignore_df=data.truth("ignore_df", default=False),
        mtu=entry.number("mtu", 0),
        # Told only where the link, or none, is of another namespace (rtnl_fill_link_netnsid()).
        moved="link_netnsid" in entry.fields,
        erspan_version=data.erspan_version(kind),
        # Left out where the tunnel sends none (gre_print_opt() of iproute2's ip/link_gre6.c).
        encap_limit=data.number("encap_limit") if "encap_limit" in data.fields else None,
        encap=data.encap(),
    )


def _bound_to(entry: Entry, data: Entry, numbers: _Numbers) -> tuple[int, str | None]:
    """Return index and name of the link that a tunnel is bound to; 0 and None without one."""
    if "link_netnsid" in entry.fields:
        # In another namespace; a name would be that of the link with this index here.
        return entry.number("link_index", 0), None
    if data.fields.get("link") is None:
        return 0, None
    name = data.text("link")
    # So ll_index_to_name() of iproute2 calls a link that is gone.
    nameless = re.fullmatch("if([0-9]{1,10})", name)
    if nameless and not numbers.knows(name):
        return int(nameless[1]), None
    return numbers.of(name), name


def _octet(entry: Entry, field: str) -> int:
    """Read a field that is a number, a number as text, or "inherit"."""
    value = entry.fields.get(field, 0)
    if not isinstance(value, str):
        return entry.number(field, 0)
    try:
        # As text, 1 is the "inherit" of tos, and 0 that of ttl.
        return int(field == "tos") if value == "inherit" else int(value[:NUMBER], 0)
    except ValueError:
        entry.fail(field, "a number")


def _entries(values: list[Any], name: str) -> list[Entry]:
    entries = [Entry(value, f"{name}, entry {number}") for number, value in enumerate(values, 1)]
    # iproute2 writes an empty object for each link that `ip link show type ..` leaves out.
    return [entry for entry in entries if entry.fields]


def _load(text: str, place: str) -> Any:
    try:
        # iproute2 writes control characters of a name as they are.
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        raise UsageError(f"{place} is no JSON", REMEDY) from None


def _read(source: str, name: str) -> str:
    try:
        if source == STDIN:
            return sys.stdin.read()
        # A name may be no UTF-8, which is no reason to refuse the rest.
        return Path(source).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"cannot read {name} ({error.strerror})", f"{REMEDY} in a file") from None
