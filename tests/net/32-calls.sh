#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 600
# Socket calls of two programs on two nodes go as they would on one machine; what differs is in the manual.
. "${TEST_TOP:?}/tests/net/calls.sh"
cluster_up 2
cluster_vip 2
tmpdir
on n1 netctl vip add $VIP6/64
cp "$TEST_O/bin/socket-calls" "$NETDIR/share/"
calls_compare asynchronous /share/socket-calls
