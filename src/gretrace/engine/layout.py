# SPDX-License-Identifier: GPL-2.0-only
"""Where the kernel's fields lie, for programs that no libbpf can fit to it."""

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from gretrace.engine.btf import field_offsets, kernel_enum, kernel_has_enum
from gretrace.engine.tracepoints import has_field, named_values
from gretrace.host.netlink import own_cookie

Field = tuple[str, str]  # structure, field

CACHE = Path("/var/cache/gretrace")
# Longer than any structure of the kernel that is read.
OFFSETS_BELOW = 1 << 16
# The enum is as old as the field of the tracepoint: v5.17, c504e5c2f964.
FIELD_OF_ENUM = {"skb_drop_reason": ("skb/kfree_skb", "reason")}
TRACEPOINT_OF_ENUM = {name: tracepoint for name, (tracepoint, _) in FIELD_OF_ENUM.items()}

HEADERS = (
    "linux/skbuff.h",
    "linux/netdevice.h",
    "linux/ns_common.h",
    "net/net_namespace.h",
    "net/dst.h",
    "net/rtnetlink.h",
    "net/ip_tunnels.h",
    "net/ip6_tunnel.h",
)


def _has_cookie() -> bool:
    # A socket tells it since v5.14, e8b9eab99232 ("net: retrieve netns cookie via
    # getsocketopt"); without that the field is of no use.
    return own_cookie() != 0


# Fields that not every kernel has, and what tells whether this one has.
OPTIONAL: dict[Field, Callable[[], bool]] = {("net", "net_cookie"): _has_cookie}


def definitions(
    source: str, others: Iterable[str], ask_headers: Callable[[Iterable[Field]], dict[Field, int]]
) -> str:
    """Return the lines that give a program its OFFSET_*, HAS_ENUM_* and ENUM_*, those it uses.

    They come from the kernel's BTF as far as it goes, then from the headers by way of
    `ask_headers`, which is asked at once for what `others` will want too. Raises
    PrerequisiteError when neither has them.
    """
    fields = _fields(source)
    missing = {field for field, is_there in OPTIONAL.items() if not is_there()}
    found = field_offsets(fields.keys() - missing) | dict.fromkeys(missing, 0)
    if not fields.keys() <= found.keys():
        every = fields.keys() | {field for other in others for field in _fields(other)}
        found |= cached(every - found.keys(), ask_headers)
    lines = [f"#define OFFSET_{structure}__{field} {found[structure, field]}"
             for structure, field in fields]  # fmt: skip
    lines += [f"#define HAS_FIELD_{structure}__{field} {int((structure, field) not in missing)}"
              for structure, field in OPTIONAL]  # fmt: skip
    enums = dict.fromkeys(re.findall(r"\bHAS_ENUM_(\w+)", source))
    lines += [f"#define HAS_ENUM_{name} {int(has_enum(name))}" for name in enums]
    values = dict.fromkeys(re.findall(r"(?<!HAS_)\bENUM_(\w+?)__(\w+)", source))
    lines += [f"#define ENUM_{name}__{value} {enum_value(name, value)}" for name, value in values]
    return "\n".join(lines) + "\n"


def _fields(source: str) -> dict[Field, None]:
    return dict.fromkeys(re.findall(r"\bOFFSET_(\w+?)__(\w+)", source))


def has_enum(name: str) -> bool:
    """Whether the running kernel has an enum, by its BTF or by a tracepoint that carries it."""
    known = kernel_has_enum(name)
    if known is not None:
        return known
    return has_field(*FIELD_OF_ENUM[name])


def enum_value(name: str, wanted: str) -> int:
    """Return a value of an enum of the running kernel by its name; 0 where there is none."""
    known = {named: value for value, named in kernel_enum(name).items()}
    if known:
        return known.get(wanted, 0)
    # A tracepoint leaves out what all names begin with.
    told = {named: value for value, named in named_values(TRACEPOINT_OF_ENUM[name]).items()}
    return next((value for named, value in told.items() if wanted.endswith(f"_{named}")), 0)


def _is_ours() -> bool:
    """Whether nobody else can have written what is in the cache: it becomes part of a program."""
    there = CACHE.lstat()
    return (
        stat.S_ISDIR(there.st_mode) and there.st_uid == os.geteuid() and not there.st_mode & 0o022
    )


def _offset(told: object) -> int:
    if type(told) is not int or not 0 <= told < OFFSETS_BELOW:
        raise ValueError("no offset of a field")
    return told


def cached(
    wanted: Iterable[Field], ask: Callable[[Iterable[Field]], dict[Field, int]]
) -> dict[Field, int]:
    """Return ask(wanted), kept between runs: headers take seconds to compile.

    The kernel that it is kept for is told apart by its build, not by its release alone.
    """
    wanted = sorted(wanted)
    source = os.environ.get("BCC_KERNEL_SOURCE", "")
    build = "\n".join([*os.uname()[2:], source, *map(":".join, wanted)])
    path = CACHE / f"layout-{hashlib.sha256(build.encode()).hexdigest()[:16]}.json"
    try:
        if _is_ours():
            return dict(zip(wanted, map(_offset, json.loads(path.read_text())), strict=True))
    except (OSError, ValueError, TypeError):
        pass
    found = ask(wanted)
    try:
        CACHE.mkdir(mode=0o700, exist_ok=True)
        if not _is_ours():
            return found
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps([found[field] for field in wanted]))
        draft.replace(path)
    except OSError:
        pass  # A read-only system compiles them again.
    return found
