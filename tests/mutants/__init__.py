# SPDX-License-Identifier: GPL-2.0-only
"""What the unit tests do not notice when it changes: mutation testing with cosmic-ray.

cosmic-ray makes the mutants. They are tried by forks of a process that has the tests loaded: of
two thousand mutants each would pay an interpreter's start, the imports and the collection
otherwise. No file is changed.
"""
