# SPDX-License-Identifier: GPL-2.0-only
"""A JSON object of a file that a user gave, read field by field.

Whatever a field holds that is not what it should be ends in a UsageError that names it.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NoReturn

from gretrace.errors import UsageError
from gretrace.kernel.kinds import ENCAPSULATIONS, KINDS
from gretrace.model import Address, Encap
from gretrace.wire.keys import MAX_KEY, parse_key

FORMATS = "`gretrace tunnels -o json` or `ip -d -j link show`"
REMEDY = f"give the output of {FORMATS}"
# No field of a tunnel or a link has more bits; and so much of what is wrong is shown.
LARGEST, SHOWN = 2**64 - 1, 60
# What a device may be called (dev_valid_name() of net/core/dev.c). It may be longer here, as our
# own output has escapes where a character does not print.
NAME = re.compile(r"[^/: \t\n\v\f\r\0]{1,255}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A JSON object, and what an error about it calls it."""

    fields: dict[str, Any]
    place: str

    def __post_init__(self) -> None:
        if not isinstance(self.fields, dict):
            raise UsageError(f"{self.place} is no JSON object", REMEDY)

    def fail(self, field: str, expected: str) -> NoReturn:
        """Say what is wrong with a field."""
        if field in self.fields:
            found = self._show(self.fields[field])
            raise UsageError(f"{self.place}: {field} is {found}, not {expected}", REMEDY)
        raise UsageError(f"{self.place} lacks {field}", REMEDY)

    @staticmethod
    def _show(value: object) -> str:
        try:
            shown = json.dumps(value)
        except (ValueError, RecursionError):  # a number with thousands of digits, a deep list
            return "what cannot be shown"
        return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}.."

    def text(self, field: str) -> str:
        """Return a name, or another word of that kind."""
        value = self.fields.get(field)
        if isinstance(value, str) and NAME.fullmatch(value):
            return value
        return self.fail(field, "a name")

    def number(self, field: str, default: int | None = None) -> int:
        """Return a number."""
        value = self.fields.get(field, default)
        # A bool is an int to Python.
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
            self.fail(field, "a number")
        return value

    def truth(self, field: str, default: bool | None = None) -> bool:
        """Return true or false."""
        value = self.fields.get(field, default)
        return value if isinstance(value, bool) else self.fail(field, "true or false")

    def texts(self, field: str) -> list[str]:
        """Return a list of texts."""
        value = self.fields.get(field)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.fail(field, "a list of names")
        return value

    def inside(self, field: str) -> "Entry":
        """Return an object within the object."""
        value = self.fields.get(field)
        if not isinstance(value, dict):
            self.fail(field, "a JSON object")
        return Entry(value, self.place)

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

    def erspan_version(self, kind: str) -> int:
        """Return the version of an ERSPAN tunnel; of one that is not told, by its key."""
        versions = KINDS[kind].erspan
        if not versions:
            return 1
        if self.fields.get("erspan_ver") is None:
            return 0 if 0 in versions and self.fields.get("ikey") is None else 1
        version = self.number("erspan_ver")
        return version if version in versions else self.fail("erspan_ver", "a version of ERSPAN")

    def encap(self) -> Encap | None:
        """Return what a tunnel is wrapped in, if it is."""
        if self.fields.get("encap") is None:
            return None
        encap = self.inside("encap")
        if encap.fields.get("type") not in tuple(ENCAPSULATIONS):  # it may have no hash
            self.fail("encap", f"one of type {_or(ENCAPSULATIONS)}")
        truths = {name: encap.truth(name, default=False) for name in ("csum", "csum6", "remcsum")}
        return Encap(encap.text("type"), encap.number("sport"), encap.number("dport"), **truths)

    def kind(self, field: str) -> str:
        """Return a kind of tunnel."""
        kind = self.text(field)
        return kind if kind in KINDS else self.fail(field, f"a kind of GRE tunnel: {_or(KINDS)}")


def _or(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}"
