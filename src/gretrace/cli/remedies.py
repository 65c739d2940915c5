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
    Remedy.MORE_WORDS: "-v shows all that was said",
}


def with_options(said: str | GretraceError) -> str:
    """Return what is said, with the options that help."""
    if not isinstance(said, Remark | GretraceError):
        return said
    remedy = str(said.remedy)
    # The longest first: one may begin as another does.
    for words in sorted(OPTIONS, key=len, reverse=True):
        if words in remedy:
            remedy = remedy.replace(words, OPTIONS[words])
            break
    return f"{said.what}; {remedy}"
