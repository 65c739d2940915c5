#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The ends agree on everything but what the tunnel carries.
#
# Broken:    A has a gre tunnel, which carries IP packets; B has a gretap tunnel, which
#            carries Ethernet frames.
# You see:   wrong-type. There is no command to run: a device cannot change its type.
# Mended by: making B's tunnel anew as gre (or A's as gretap).
. "$(dirname "$0")/lab.sh"

direct_lab
tunnel a remote 20.1.1.1 local 20.1.1.2 ikey 1 okey 1
run ip -n gt-b link add gre1 type gretap remote 20.1.1.2 local 20.1.1.1 ikey 1 okey 1 ttl 255
use_tunnel b

explain_ping
expect_cause wrong-type gretap
run ip -n gt-b link del gre1
tunnel b remote 20.1.1.2 local 20.1.1.1 ikey 1 okey 1
expect_ping
