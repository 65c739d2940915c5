# SPDX-License-Identifier: GPL-2.0-only
"""Faults of gretrace itself, each told once, in one line."""

from collections.abc import Iterable, Iterator

from gretrace.model import Fault


class Faults:
    """What went wrong in verdicts, and what of it was told already."""

    def __init__(self) -> None:
        self._known: dict[Fault, None] = {}
        self._told = 0

    def __len__(self) -> int:
        """How many different ones there were so far."""
        return len(self._known)

    def note(self, faults: Iterable[Fault]) -> None:
        """Keep what went wrong in a verdict."""
        self._known.update(dict.fromkeys(fault for fault in faults if fault.is_ours))

    def sentences(self) -> Iterator[str]:
        """Say what is new since the last call, and what to do about it."""
        new = list(self._known)[self._told :]
        self._told += len(new)
        for fault in new:
            yield (
                f"this is a bug: the verdict {fault.cause} failed ({fault.what}, {fault.place}), "
                f"and such packets are told without it; {please_report()}"
            )


def please_report() -> str:
    """Say what to do about a fault of gretrace."""
    # Only a fault has to pay for it.
    from importlib import metadata

    try:
        named = metadata.metadata("gretrace").get_all("Project-URL", [])
    except metadata.PackageNotFoundError:
        named = []
    # "Issues, https://..": the most fitting is the one that says so.
    urls = sorted(named, key=lambda line: "issue" not in line.lower())
    place = f"at {urls[0].partition(',')[2].strip()}" if urls else "where you have gretrace from"
    return f"please report this line, with what `gretrace --version` says, {place}"
