# SPDX-License-Identifier: GPL-2.0-only
"""Bytes: packets, keys, checksums. Pure."""
