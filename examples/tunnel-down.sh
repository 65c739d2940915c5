#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# B's tunnel fits, but nobody set it up.
#
# Broken:    gre1 of B is administratively down.
# You see:   tunnel-down. The kernel passes by every tunnel that is down, so to it this
#            is the same as having none.
# Mended by: setting it up.
. "$(dirname "$0")/lab.sh"

direct_lab
tunnel a remote 20.1.1.1 local 20.1.1.2 ikey 1 okey 1
tunnel b remote 20.1.1.2 local 20.1.1.1 ikey 1 okey 1
run ip -n gt-b link set gre1 down

explain_ping
expect_cause tunnel-down
apply_advice
expect_ping
