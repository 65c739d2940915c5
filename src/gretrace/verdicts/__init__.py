"""Why a packet was dropped: pure functions from what was observed to a verdict.

Each module holds one family of causes; to import it is to enter them.
"""

from gretrace.verdicts import device, endpoints, keys, other  # noqa: F401
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import CAUSES, Cause, explain

__all__ = ["CAUSES", "Case", "Cause", "explain"]
