#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# A healthy tunnel between two hosts on one wire.
#
# Broken:    nothing.
# You see:   the ping is answered; explain-drop reports no drop and exits with 0.
# Mended by: nothing to mend. The other examples are this one with one thing wrong.
. "$(dirname "$0")/lab.sh"

direct_lab
tunnel a remote 20.1.1.1 local 20.1.1.2 ikey 1 okey 1
tunnel b remote 20.1.1.2 local 20.1.1.1 ikey 1 okey 1

explain_ping
expect_healthy
