# SPDX-License-Identifier: GPL-2.0-only
"""What this machine can do, what is missing, and the one line that helps: behind `check`.

Each module holds one kind of check; to import it is to enter them.
"""

from gretrace.checks import kernel, segments, tunnels  # noqa: F401
from gretrace.checks.registry import CHECKS, Check, State, run_all

__all__ = ["CHECKS", "Check", "State", "run_all"]
