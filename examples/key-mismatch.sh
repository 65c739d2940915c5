#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Both ends have a key, but not the same.
#
# Broken:    A sends key 1; B expects key 2.
# You see:   key-mismatch, with both keys. Nothing on B counts these packets: the
#            kernel finds no tunnel for them and answers with an ICMP error.
# Mended by: one key for both ends.
. "$(dirname "$0")/lab.sh"

direct_lab
tunnel a remote 20.1.1.1 local 20.1.1.2 ikey 1 okey 1
tunnel b remote 20.1.1.2 local 20.1.1.1 ikey 2 okey 2

explain_ping
expect_cause key-mismatch "key 1" "key 2"
apply_advice
expect_ping
