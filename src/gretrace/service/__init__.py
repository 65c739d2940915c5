# SPDX-License-Identifier: GPL-2.0-only
"""`serve` as a use case: what is counted for weeks, and handed to whoever watches many hosts."""
