#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 600
# The shipped unit on Debian 13's kernel: nodes join over TIPC, netd is restarted by systemd, a reboot comes back.
CLUSTER=$TEST_TOP/tests/vm/cluster
BEARER=eth0
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up

step "the unit runs, idle"
for n in n1 n2 n3; do
	assert_eq "$(on $n systemctl is-active netd)" active "netd.service on $n"
	assert_fails 4 on $n netctl status 2>/dev/null
done

step "init and join over TIPC"
cluster_form
assert_eq "$(get n2 nodes '[.[].transport] | unique | join(" ")')" tipc
on n2 tipc link list

step "netd killed: systemd starts it again, the same member"
incarnation=$(get n1 nodes '.[] | select(.node == "n2").incarnation')
on n2 systemctl kill -s KILL netd
wait_get n2 nodes '[.[] | select(.state == "up")] | length' 3 20
assert_eq "$(get n1 nodes '.[] | select(.node == "n2").incarnation')" "$incarnation"

step "power cut and reboot"
cluster kill n3
wait_get n1 nodes '.[] | select(.node == "n3").state' dead 15
cluster start n3
wait_get n1 nodes '.[] | select(.node == "n3").state' up 60
assert_eq "$(on n3 systemctl --failed --plain --no-legend)" "" "failed units on n3"
