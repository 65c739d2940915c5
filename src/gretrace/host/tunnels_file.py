"""Tunnels from a file: the output of `gretrace tunnels -o json` or of `ip -d -j link show`."""

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from gretrace.errors import UsageError
from gretrace.host.netlink import KINDS
from gretrace.host.tunnels import FALLBACKS
from gretrace.model import Address, Tunnel
from gretrace.wire.keys import MAX_KEY, parse_key

STDIN = "-"
FORMATS = "`gretrace tunnels -o json` or `ip -d -j link show`"
REMEDY = f"give the output of {FORMATS}"


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
    return _parse_records([_Entry(_load(line, place), place) for line, place in places])


@dataclass(frozen=True, slots=True)
class _Entry:
    """A JSON object, and what an error about it calls it."""

    fields: dict[str, Any]
    place: str

    def __post_init__(self) -> None:
        if not isinstance(self.fields, dict):
            raise UsageError(f"{self.place} is no JSON object", REMEDY)

    def fail(self, field: str, expected: str) -> NoReturn:
        """Say what is wrong with a field."""
        if field in self.fields:
            found = json.dumps(self.fields[field])
            raise UsageError(f"{self.place}: {field} is {found}, not {expected}", REMEDY)
        raise UsageError(f"{self.place} lacks {field}", REMEDY)

    def text(self, field: str) -> str:
        value = self.fields.get(field)
        return value if isinstance(value, str) and value else self.fail(field, "a name")

    def number(self, field: str, default: int | None = None) -> int:
        value = self.fields.get(field, default)
        # A bool is an int to Python.
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(field, "a number")
        return value

    def truth(self, field: str, default: bool | None = None) -> bool:
        value = self.fields.get(field, default)
        return value if isinstance(value, bool) else self.fail(field, "true or false")

    def texts(self, field: str) -> list[str]:
        value = self.fields.get(field)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.fail(field, "a list of names")
        return value

    def inside(self, field: str) -> "_Entry":
        value = self.fields.get(field)
        if not isinstance(value, dict):
            self.fail(field, "a JSON object")
        return _Entry(value, self.place)

    def address(self, field: str, kind: str) -> Address | None:
        """Return the outer address of a tunnel; None for "any"."""
        if field not in self.fields:
            self.fail(field, "an address")
        value = self.fields[field]
        if value in (None, "any"):
            return None
        version = 6 if kind.startswith("ip6") else 4
        try:
            address = ip_address(value if isinstance(value, str) else "")
        except ValueError:
            self.fail(field, f"an IPv{version} address")
        if address.version != version:
            self.fail(field, f"an IPv{version} address, which {kind} needs")
        return None if address.is_unspecified else address

    def key(self, field: str) -> int | None:
        """Return a key, which may be a number or a text that `ip` would take."""
        value = self.fields.get(field)
        if value is None:
            return None
        try:
            key = parse_key(value) if isinstance(value, str) else self.number(field)
        except ValueError:
            key = -1
        return key if 0 <= key <= MAX_KEY else self.fail(field, "a GRE key")

    def kind(self, field: str) -> str:
        kind = self.text(field)
        return kind if kind in KINDS else self.fail(field, f"a kind of GRE tunnel: {_or(KINDS)}")


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


def _parse_records(entries: list[_Entry]) -> list[Tunnel]:
    numbers = _Numbers((entry.text("name"), entry.number("ifindex")) for entry in entries)
    return [_parse_record(entry, numbers) for entry in entries]


def _parse_record(entry: _Entry, numbers: _Numbers) -> Tunnel:
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
    )


def _parse_links(entries: list[_Entry], name: str) -> list[Tunnel]:
    """Read what print_linkinfo() of iproute2's ip/ipaddress.c writes."""
    links = [(entry.text("ifname"), entry.number("ifindex")) for entry in entries]
    # `promiscuity` is one of the details of every link, `linkinfo` only of a virtual one.
    if entries and not any({"linkinfo", "promiscuity"} & e.fields.keys() for e in entries):
        raise UsageError(
            f"{name} has no details of the links, so no tunnels", "give the output of `ip -d -j`"
        )
    numbers = _Numbers(links)
    return [_parse_link(entry, numbers) for entry in entries if _kind_of(entry) in KINDS]


def _kind_of(entry: _Entry) -> object:
    return entry.inside("linkinfo").fields.get("info_kind") if "linkinfo" in entry.fields else None


def _parse_link(entry: _Entry, numbers: _Numbers) -> Tunnel:
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
    )


def _bound_to(entry: _Entry, data: _Entry, numbers: _Numbers) -> tuple[int, str | None]:
    """Return index and name of the link that a tunnel is bound to; 0 and None without one."""
    if "link_netnsid" in entry.fields:
        # In another namespace; a name would be that of the link with this index here.
        return entry.number("link_index", 0), None
    if data.fields.get("link") is None:
        return 0, None
    name = data.text("link")
    # So ll_index_to_name() of iproute2 calls a link that is gone.
    nameless = re.fullmatch("if([0-9]+)", name)
    if nameless and not numbers.knows(name):
        return int(nameless[1]), None
    return numbers.of(name), name


def _octet(entry: _Entry, field: str) -> int:
    """Read a field that is a number, a number as text, or "inherit"."""
    value = entry.fields.get(field, 0)
    if not isinstance(value, str):
        return entry.number(field, 0)
    try:
        # As text, 1 is the "inherit" of tos, and 0 that of ttl.
        return int(field == "tos") if value == "inherit" else int(value, 0)
    except ValueError:
        entry.fail(field, "a number")


def _entries(values: list[Any], name: str) -> list[_Entry]:
    entries = [_Entry(value, f"{name}, entry {number}") for number, value in enumerate(values, 1)]
    # iproute2 writes an empty object for each link that `ip link show type ..` leaves out.
    return [entry for entry in entries if entry.fields]


def _load(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"{place} is no JSON", REMEDY) from None


def _read(source: str, name: str) -> str:
    try:
        return sys.stdin.read() if source == STDIN else Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {name} ({error.strerror})", f"{REMEDY} in a file") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name} is no text", REMEDY) from None


def _or(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}"
