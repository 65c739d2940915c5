# SPDX-License-Identifier: GPL-2.0-only
"""A second witness of each packet that the kernel drops: its own tracing, and no program of ours.

An event probe (Documentation/trace/eprobetrace.rst, since v5.15) on skb:kfree_skb writes down
where a packet was freed, and the first bytes of its buffer, in which it says who it is.
"""

import os
import re
from collections import Counter
from contextlib import contextmanager

from gretrace.engine.btf import field_offsets
from tests.lab.trace import TRACING, function_names

GROUP, EVENT = "gretrace_lab", "freed"
ROOM = 8192  # KB
WORDS = 20  # of eight bytes, from the beginning of the buffer on
LINE = re.compile(rf"{EVENT}: \(\S+\) location=0x([0-9a-f]+) head=\{{([0-9a-fx,]+)\}}")
LOST = re.compile(r"^(?:overrun|dropped events): (\d+)$", re.MULTILINE)


class Freed:
    """What was freed since the block began."""

    def __init__(self, instance):
        self._instance = instance

    def told(self, identify):
        """Count pairs of what `identify` makes of a buffer's bytes, and the function that freed it.

        Packets that it makes None of are somebody else's; what compilers add to names is left out.
        """
        for stats in self._instance.glob("per_cpu/cpu*/stats"):
            assert not any(map(int, LOST.findall(stats.read_text()))), "the trace has gaps"
        found = Counter()
        trace = (self._instance / "trace").read_text()
        assert LINE.search(trace), trace[-1000:]
        for place, head in LINE.findall(trace):
            words = (int(word, 16).to_bytes(8, "little") for word in head.split(","))
            if (who := identify(b"".join(words))) is not None:
                # What is freed is called from before the return address.
                found[who, f"{int(place, 16) - 1:016x}"] += 1
        names = function_names(place for _, place in found)
        told = Counter()
        for (who, place), count in found.items():
            told[who, names[place].split()[0].partition(".")[0]] += count
        return told


@contextmanager
def freed_packets():
    """Have the kernel write down each packet that it drops while the block runs."""
    head = field_offsets([("sk_buff", "head")])["sk_buff", "head"]
    instance = TRACING / "instances" / EVENT
    instance.mkdir()
    enable = instance / "events" / GROUP / EVENT / "enable"
    try:
        (instance / "buffer_size_kb").write_text(str(ROOM))
        _change_events(
            f"e:{GROUP}/{EVENT} skb/kfree_skb location=$location:x64 "
            f"head=+0(+{head}($skbaddr)):x64[{WORDS}]"
        )
        try:
            enable.write_text("1")
            yield Freed(instance)
        finally:
            enable.write_text("0")
            _change_events(f"-:{GROUP}/{EVENT}")
    finally:
        instance.rmdir()


def _change_events(line):
    # Opened to be truncated, as write_text() does, it loses all events; it cannot seek either.
    fd = os.open(TRACING / "dynamic_events", os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)
