#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The same tunnel across subnets, with a router that does source NAT between.
#
# Broken:    A's packets leave the router with its address 20.1.1.2 as their source;
#            B's tunnel expects them from A's own, 30.1.1.2.
# You see:   nat-remote, with both addresses.
# Mended by: giving B the address that it really sees as the remote. (Where the
#            router is yours: exempting GRE from NAT.) A has to speak first, so that
#            the router knows where B's answers belong.
. "$(dirname "$0")/lab.sh"

routed_lab
tunnel a remote 20.1.1.1 local 30.1.1.2 ikey 1 okey 1
tunnel b remote 30.1.1.2 local 20.1.1.1 ikey 1 okey 1

explain_ping
expect_cause nat-remote 20.1.1.2 30.1.1.2
apply_advice
expect_ping
