# SPDX-License-Identifier: GPL-2.0-only
"""`explain-drop` as a use case: live, and from a capture."""
