#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# netd killed and started again within the lease, under a client that sends all the time: nothing breaks.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir
on n1 netctl set lease_ms 6000
redis n2
wait_for "an answer" 5 answers

count_begin -i 2 -c 5
for round in 1 2 3; do
	for n in n2 n1; do
		step "netd on $n killed, round $round"
		cluster netd $n kill
		cluster netd $n start
		wait_get $n nodes '[.[] | select(.state == "up")] | length' 3
		wait_get $n "ports :6379" '.[0].node' n2
		wait_get n3 "ports :6379" '.[0].node' n2
	done
done
step "a planned restart"
cluster netd n2 stop
cluster netd n2 start
wait_get n2 "ports :6379" '.[0].node' n2
assert_eq "$(get n2 apps '.[0] | "\(.app) \(.node) \(.state)"')" "redis-server n2 running"

count_end

step "claims made while netd was away are found"
cluster netd n2 kill
on n2 netctl version 2>/dev/null || :
on n2 pkill -KILL -x redis-server
cluster netd n2 start
wait_for "the claim is gone" 5 no_owner n1
wait_get n1 apps length 0
