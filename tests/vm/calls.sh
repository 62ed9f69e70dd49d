#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 900
# The socket calls of tests/net/32-calls.sh where listen() and bind() wait for the cluster: nothing is left to a race.
CLUSTER=$TEST_TOP/tests/vm/cluster
. "${TEST_TOP:?}/tests/net/calls.sh"
tmpdir
cluster_up
share=$TEST_O/vm/share
cp "$TEST_O/bin/socket-calls" "$share/"
at_exit "rm -f '$share/socket-calls'"
cluster_vip
on n1 netctl vip add $VIP6/64
on n1 netctl set lease_ms 60000
for node in n1 n2; do
	wait_get $node status '.[0].datapath.listen' synchronous 20
done
calls_compare synchronous /share/socket-calls
for node in n1 n2; do
	on $node journalctl -u netd | has 'is ended' && fail "netd on $node ended a socket" || :
done
