# SPDX-License-Identifier: GPL-2.0-only
"""gretrace and its peers, measured on the same work in the same run; `script/bench` runs it."""
