# SPDX-License-Identifier: GPL-2.0-only
"""Reports to text and to JSON, both from the same object."""
