# SPDX-License-Identifier: GPL-2.0-only
"""What helps, by the options of the command line: nothing below it knows of any."""

from collections.abc import Mapping

from gretrace.errors import GretraceError, Remark, Remedy

OPTIONS: Mapping[str, str] = {
    Remedy.FEWER_PACKETS: "narrow it with --remote, --local or --key",
    Remedy.FEWER_PACKETS_OR_MORE_KINDS: (
        "narrow it with --remote, --local or --key, or raise --capacity"
    ),
    Remedy.FEWER_KINDS: "lower --capacity",
    Remedy.OTHER_TUNNELS: "give those of another host with --tunnels",
    Remedy.ANY_HOOK: "try --hook auto",
    Remedy.REPLACE: "take it off, or give --force to replace it",
}


def with_options(said: str | GretraceError) -> str:
    """Return what is said, with the options that help."""
    if isinstance(said, Remark | GretraceError):
        return f"{said.what}; {OPTIONS.get(said.remedy, said.remedy)}"
    return said
