# SPDX-License-Identifier: GPL-2.0-only
"""Cases of every cause, in a module for each of those of verdicts/ that they are of.

`EXPECTED` of a module has them by cause, with what makes each another one behind a comma: the
case, and the tunnel that is to be named.
"""

import importlib
import pkgutil

_NAMES = [f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)]
FAMILIES = [importlib.import_module(name) for name in _NAMES]
EXPECTED = {name: expected for family in FAMILIES for name, expected in family.EXPECTED.items()}
