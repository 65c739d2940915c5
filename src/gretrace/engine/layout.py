"""Where the kernel's fields lie, for programs that no libbpf can fit to it."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from gretrace.engine.btf import field_offsets, kernel_has_enum
from gretrace.engine.tracepoints import has_field

Field = tuple[str, str]  # structure, field

CACHE = Path("/var/cache/gretrace")
# The enum is as old as the field of the tracepoint: v5.17, c504e5c2f964.
FIELD_OF_ENUM = {"skb_drop_reason": ("skb/kfree_skb", "reason")}

HEADERS = (
    "linux/skbuff.h",
    "linux/netdevice.h",
    "linux/ns_common.h",
    "net/net_namespace.h",
    "net/rtnetlink.h",
    "net/ip_tunnels.h",
    "net/ip6_tunnel.h",
)


def definitions(
    source: str, others: Iterable[str], ask_headers: Callable[[Iterable[Field]], dict[Field, int]]
) -> str:
    """Return the lines that give a program its OFFSET_* and HAS_ENUM_*, whichever it uses.

    They come from the kernel's BTF as far as it goes, then from the headers by way of
    `ask_headers`, which is asked at once for what `others` will want too. Raises
    PrerequisiteError when neither has them.
    """
    fields = _fields(source)
    found = field_offsets(fields)
    if found.keys() != fields.keys():
        every = fields.keys() | {field for other in others for field in _fields(other)}
        found |= cached(every - found.keys(), ask_headers)
    lines = [f"#define OFFSET_{structure}__{field} {found[structure, field]}"
             for structure, field in fields]  # fmt: skip
    enums = dict.fromkeys(re.findall(r"\bHAS_ENUM_(\w+)", source))
    lines += [f"#define HAS_ENUM_{name} {int(has_enum(name))}" for name in enums]
    return "\n".join(lines) + "\n"


def _fields(source: str) -> dict[Field, None]:
    return dict.fromkeys(re.findall(r"\bOFFSET_(\w+?)__(\w+)", source))


def has_enum(name: str) -> bool:
    """Whether the running kernel has an enum, by its BTF or by a tracepoint that carries it."""
    known = kernel_has_enum(name)
    if known is not None:
        return known
    return has_field(*FIELD_OF_ENUM[name])


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
        return dict(zip(wanted, json.loads(path.read_text()), strict=True))
    except (OSError, ValueError, TypeError):
        found = ask(wanted)
    try:
        CACHE.mkdir(mode=0o755, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps([found[field] for field in wanted]))
        draft.replace(path)
    except OSError:
        pass  # A read-only system compiles them again.
    return found
