# SPDX-License-Identifier: GPL-2.0-only
"""The kernel as pure functions: its tunnel lookup, its receive path, its rulesets."""
