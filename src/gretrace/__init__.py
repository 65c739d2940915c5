# SPDX-License-Identifier: GPL-2.0-only
"""gretrace: why is this GRE tunnel broken?

Other programs find here what docs/library.md describes. It is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gretrace.errors import GretraceError, PrerequisiteError, UsageError
    from gretrace.kernel.lookup import Answer
    from gretrace.library import (
        explain_capture,
        follow_drops,
        live_tunnels,
        look_up,
        read_tunnels,
        to_dict,
    )
    from gretrace.model import Report, Tunnel

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "GretraceError",
    "PrerequisiteError",
    "Report",
    "Tunnel",
    "UsageError",
    "explain_capture",
    "follow_drops",
    "live_tunnels",
    "look_up",
    "read_tunnels",
    "to_dict",
]


def __getattr__(name: str) -> object:
    """Import what a program asks for by name."""
    if name in __all__:
        return getattr(import_module("gretrace.library"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
