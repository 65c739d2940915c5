#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# A has a key, B has none.
#
# Broken:    A sends key 1; B's tunnel has no key and takes only packets without.
# You see:   key-unexpected, with the key that A sends.
# Mended by: setting that key at B, as this example does, or removing it at A.
. "$(dirname "$0")/lab.sh"

direct_lab
tunnel a remote 20.1.1.1 local 20.1.1.2 ikey 1 okey 1
tunnel b remote 20.1.1.2 local 20.1.1.1

explain_ping
expect_cause key-unexpected "key 1"
apply_advice
expect_ping
