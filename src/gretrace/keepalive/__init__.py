# SPDX-License-Identifier: GPL-2.0-only
"""Answering keepalives: the responder, the trial that chooses its hook, and staying with it."""
