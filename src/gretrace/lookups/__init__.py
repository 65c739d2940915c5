# SPDX-License-Identifier: GPL-2.0-only
"""`lookup` as a use case: what the kernel chooses, live, and what it would choose."""
