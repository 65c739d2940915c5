# SPDX-License-Identifier: GPL-2.0-only
"""What `script/test` runs: which tests in which kernel, two guests at once, and the report."""
