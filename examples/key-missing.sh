#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# B has a key, A has none.
#
# Broken:    A sends no key; B expects key 1.
# You see:   key-missing, with the key that B expects.
# Mended by: setting the key at A, or, as this example does, removing it at B. "No
#            key" and "key 0" are different things: key 0 at A would not help.
. "$(dirname "$0")/lab.sh"

direct_lab
tunnel a remote 20.1.1.1 local 20.1.1.2
tunnel b remote 20.1.1.2 local 20.1.1.1 ikey 1 okey 1

explain_ping
expect_cause key-missing "key 1"
apply_advice
expect_ping
