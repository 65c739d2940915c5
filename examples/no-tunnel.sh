#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# A sends into a tunnel that has no other end.
#
# Broken:    B has no GRE tunnel at all.
# You see:   no-tunnel, and a command that makes the tunnel these packets need.
# Mended by: that command, and then the addresses inside the tunnel, which no packet
#            can tell.
. "$(dirname "$0")/lab.sh"

direct_lab
tunnel a remote 20.1.1.1 local 20.1.1.2 ikey 1 okey 1

explain_ping
expect_cause no-tunnel
apply_advice
use_tunnel b
expect_ping
