# SPDX-License-Identifier: GPL-2.0-only
"""All causes, each entered by the function that recognises it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, TypeAlias

from gretrace.errors import GretraceError, describe_fault
from gretrace.kernel.way import Step
from gretrace.model import Fault, Finding, Fix, Verdict, Where
from gretrace.verdicts.case import Case

Recognise: TypeAlias = Callable[[Case], Finding | None]


@dataclass(frozen=True, slots=True)
class Cause:
    """One way for a GRE packet to die."""

    name: str
    meaning: str
    recognise: Recognise
    last_resort: bool
    steps: tuple[Step[Any], ...] = ()  # at one of which it ends a packet; none: at any


CAUSES: list[Cause] = []


def cause(
    name: str, meaning: str, *steps: Step[Any], last_resort: bool = False
) -> Callable[[Recognise], Recognise]:
    """Enter the function below as the one that recognises the cause `name`.

    It is asked about packets that ended at one of the steps of the kernel's way, and can have
    ended at no other; without any, about all. No two causes recognise the same drop, so their
    order does not matter, but for the last resort, which recognises all that is left.
    """

    def enter(recognise: Recognise) -> Recognise:
        @wraps(recognise)
        def at_steps(case: Case) -> Finding | None:
            return recognise(case) if not steps or case.is_at(*steps) else None

        CAUSES.append(Cause(name, meaning, at_steps, last_resort, steps))
        CAUSES.sort(key=lambda known: known.last_resort)
        return recognise

    return enter


def explain(case: Case) -> Verdict:
    """Return the verdict of the cause that recognises the drop.

    A cause that fails recognises nothing: the packet was dropped all the same.
    """
    faults: list[Fault] = []
    for known in CAUSES:
        try:
            finding = known.recognise(case)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            faults.append(_fault(known.name, error))
        else:
            if finding:
                return Verdict(known.name, _admit(finding, faults), _once(faults))
    return Verdict(CAUSES[-1].name, _admit(_least(case), faults), _once(faults))


def _fault(cause_name: str, error: Exception) -> Fault:
    # A namespace that is gone, or an answer that the kernel refuses.
    is_ours = not isinstance(error, (GretraceError, OSError))
    return Fault(cause_name, *describe_fault(error), is_ours=is_ours)


def _once(faults: list[Fault]) -> tuple[Fault, ...]:
    """Take of what fails in many causes the first."""
    return tuple({(fault.what, fault.place): fault for fault in reversed(faults)}.values())[::-1]


def _admit(finding: Finding, faults: list[Fault]) -> Finding:
    """Say what could not be asked; of a cause that was found, nothing else was needed."""
    said = [f"Whether it was {f.cause} could not be asked ({f.what})." for f in _once(faults)]
    return replace(finding, evidence=(*finding.evidence, *said))


def _least(case: Case) -> Finding:
    """Say what needs no looking."""
    place = case.drop.place
    return Finding(
        summary=f"A packet was freed by the kernel in {place}.",
        evidence=(),
        fix=(Fix(Where.HERE, f"See what {place.function} of this kernel checks."),),
        path=(str(place),),
    )
