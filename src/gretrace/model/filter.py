# SPDX-License-Identifier: GPL-2.0-only
"""Programs and filters of the user's on a device."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """A program of BPF that is loaded."""

    id: int
    name: str | None = None  # None: that may not be asked

    def __str__(self) -> str:
        return f"{self.name or 'a program'} (id {self.id})"


@dataclass(frozen=True, slots=True)
class Filter:
    """A tc filter that can drop packets, in the words of `tc filter`."""

    pref: int
    handle: int
    kind: str
    action: str  # "drop", "police", or a program of BPF
    chain: int = 0
    dropped: int | None = None  # packets, ever; None: that is not counted

    @property
    def handle_shown(self) -> str:
        """The handle as `tc` writes it."""
        if self.kind != "u32":
            return f"{self.handle:#x}"
        # TC_U32_HTID, TC_U32_HASH and TC_U32_NODE of uapi/linux/pkt_cls.h
        table, bucket, node = self.handle >> 20, self.handle >> 12 & 0xFF, self.handle & 0xFFF
        return f"{table:x}:{bucket:x}:{node:x}" if bucket else f"{table:x}::{node:x}"

    def __str__(self) -> str:
        return f"{self.kind}, pref {self.pref}, handle {self.handle_shown}, action {self.action}"
