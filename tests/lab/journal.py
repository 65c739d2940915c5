# SPDX-License-Identifier: GPL-2.0-only
"""What was done to the hosts of a test, and what it said: printed when the test fails."""

import time
from dataclasses import dataclass, field

SHOWN_OF_ONE = 3000  # characters of a command, or of what it said
SHOWN = 400  # notes of one test


@dataclass(frozen=True)
class Note:
    """Something that was done in a host, or in no host of the lab's own (None)."""

    host: str | None
    done: str
    said: str
    at: float = field(default_factory=time.monotonic)


_notes: list[Note] = []
_gone: set[str] = set()


def note(host, done, said=""):
    """Keep what was done; what a command said comes below it."""
    _notes.append(Note(host, _cut(done), _cut(said)))


def host_is_gone(name):
    """Forget the notes of a host when the next test begins, and not before."""
    _gone.add(name)


def begin_test():
    """Forget what was done for earlier tests, but to hosts that live on."""
    _notes[:] = [note for note in _notes if note.host and note.host not in _gone]
    _gone.clear()


def told(since):
    """Return all notes as text, with the seconds after `since`."""
    lines = []
    if len(_notes) > SHOWN:
        lines.append(f"({len(_notes) - SHOWN} earlier steps are left out)")
    for note in _notes[-SHOWN:]:
        first, *more = note.done.splitlines() or [""]
        lines.append(f"{note.at - since:+8.2f} s  {note.host or 'here'}# {first}")
        lines += [f"{' ' * 12}{line}" for line in more]
        lines += [f"{' ' * 14}| {line}" for line in note.said.splitlines()]
    return "\n".join(lines)


def _cut(text):
    half = SHOWN_OF_ONE // 2
    if len(text) <= SHOWN_OF_ONE:
        return text
    return f"{text[:half]}\n... {len(text) - 2 * half} characters ...\n{text[-half:]}"
