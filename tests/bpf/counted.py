# SPDX-License-Identifier: GPL-2.0-only
"""What a table of drops yields, added up over looks."""

import time
from dataclasses import replace
from weakref import WeakKeyDictionary, proxy

from gretrace.engine import drop_reasons
from gretrace.engine.contract import DropKey, DropMark
from gretrace.engine.decode import decode_drop

_SEEN = WeakKeyDictionary()


class Seen:
    """The drops of a table, each kind with all that was yielded of it."""

    def __init__(self, table):
        self._table, self._reasons, self._sums = proxy(table), drop_reasons(), {}

    def look(self):
        self._table.look()
        for kind in self._table.kinds():
            drop = decode_drop(kind.key, kind.stats, kind.place, self._reasons, 0)
            record = DropKey.from_buffer_copy(kind.key)
            record.tuple.marks &= ~DropMark.ODD
            same = bytes(record)
            count = self._sums[same].count if same in self._sums else 0
            self._sums[same] = replace(drop, count=count + kind.count)
        return list(self._sums.values())

    def settled(self, count):
        """The drops once `count` packets are in; a veth hands packets over a moment later."""
        deadline = time.monotonic() + 20
        while sum(drop.count for drop in self.look()) + self._table.lost().overflow < count:
            assert time.monotonic() < deadline, (self.look(), self._table.lost())
            time.sleep(0.01)
        return list(self._sums.values())


def seen_of(table):
    """The one Seen of a table: what it yields once is not yielded again."""
    return _SEEN.setdefault(table, Seen(table))
