# SPDX-License-Identifier: GPL-2.0-only
"""Where the kernel freed packets while a test ran, kept by the kernel's own tracing."""

import re
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from gretrace.engine.symbols import KALLSYMS

TRACING = Path("/sys/kernel/tracing")
ROOM = 512  # KB; older events make way
BEGINS = "the lab begins a test"
# v5.10 has no reason and v6.1 may show none; before v6.11 the location is an address.
EVENT = re.compile(r"kfree_skb: .*protocol=(\d+) location=(.+?)(?: reason: ?(\S*))?\s*$")
ADDRESS = re.compile(r"(?:0x)?([0-9a-f]{16})")
CODE = "tTwW"


class DropLog:
    """The events of skb:kfree_skb in a buffer of their own, read when a test has failed."""

    def __init__(self, instance):
        self._instance = instance

    def begin_test(self):
        # To empty the buffer would wait for RCU.
        (self._instance / "trace_marker").write_text(BEGINS)

    def told(self):
        """Return each place since the test began, with how often packets were freed there."""
        lines = (self._instance / "trace").read_text().splitlines()
        begins = [number for number, line in enumerate(lines) if BEGINS in line]
        found = (EVENT.search(line) for line in lines[begins[-1] if begins else 0 :])
        events = Counter(event.groups() for event in found if event)
        names = function_names(
            where[1] for _, place, _ in events if (where := ADDRESS.fullmatch(place))
        )
        return "\n".join(
            f"{count:6} {names.get(place.removeprefix('0x'), place)} {reason or ''} "
            f"of protocol {int(protocol):#06x}"
            for (protocol, place, reason), count in events.items()
        )


@contextmanager
def drop_log():
    """Have the kernel write down each packet that it drops; None where it shows no tracefs."""
    instance = TRACING / "instances/gretrace-lab"
    enable = instance / "events/skb/kfree_skb/enable"
    try:
        instance.mkdir(exist_ok=True)
    except OSError:
        yield None
        return
    try:
        (instance / "buffer_size_kb").write_text(str(ROOM))
        hidden = instance / "options/hash-ptr"
        if hidden.exists():
            hidden.write_text("0")
        enable.write_text("1")
        yield DropLog(instance)
    finally:
        enable.write_text("0")
        instance.rmdir()


def function_names(addresses):
    """Name the function that each address is in; an address is 16 hexadecimal digits."""
    best = dict.fromkeys(addresses, ("0" * 16, "?"))
    if best:
        with KALLSYMS.open(encoding="ascii", errors="replace") as symbols:
            for line in symbols:
                for address, found in best.items():
                    if line[17] in CODE and found[0] < line[:16] <= address:
                        best[address] = (line[:16], " ".join(line[19:].split()))
    return {address: name for address, (_, name) in best.items()}
