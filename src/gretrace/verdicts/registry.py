"""All causes, each entered by the function that recognises it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from gretrace.model import Finding, Verdict
from gretrace.verdicts.case import Case

Recognise: TypeAlias = Callable[[Case], Finding | None]


@dataclass(frozen=True, slots=True)
class Cause:
    """One way for a GRE packet to die."""

    name: str
    meaning: str
    recognise: Recognise
    last_resort: bool


CAUSES: list[Cause] = []


def cause(
    name: str, meaning: str, *, last_resort: bool = False
) -> Callable[[Recognise], Recognise]:
    """Enter the function below as the one that recognises the cause `name`.

    No two causes recognise the same drop, so their order does not matter, but for the
    last resort, which recognises all that is left.
    """

    def enter(recognise: Recognise) -> Recognise:
        CAUSES.append(Cause(name, meaning, recognise, last_resort))
        CAUSES.sort(key=lambda known: known.last_resort)
        return recognise

    return enter


def explain(case: Case) -> Verdict:
    """Return the verdict of the cause that recognises the drop."""
    for known in CAUSES:
        finding = known.recognise(case)
        if finding:
            return Verdict(known.name, finding)
    raise AssertionError("the cause `other` recognises everything")
