#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# B has two addresses, and the ends do not mean the same one.
#
# Broken:    A sends to 20.1.1.11; B's tunnel has 20.1.1.1 as its local address.
# You see:   local-mismatch, with both addresses of B.
# Mended by: making the address that A uses B's local one, as this example does, or
#            correcting the remote address at A.
. "$(dirname "$0")/lab.sh"

direct_lab
run ip -n gt-b addr add 20.1.1.11/24 dev vb
tunnel a remote 20.1.1.11 local 20.1.1.2 ikey 1 okey 1
tunnel b remote 20.1.1.2 local 20.1.1.1 ikey 1 okey 1

explain_ping
expect_cause local-mismatch 20.1.1.11 20.1.1.1
apply_advice
expect_ping
