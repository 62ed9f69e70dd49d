#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Nodes become a cluster, stay one over restarts and reboots, and refuse what has no key.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up

step "before init: idle, and says what to do"
assert_fails 4 on n1 netctl status 2>/dev/null
assert_match "$(on n1 netctl nodes 2>&1 || :)" 'netctl (init|join)' "the remedy"

step "init, token, join"
cluster_form
assert_eq "$(get n3 nodes '[.[].node] | sort | join(" ")')" "n1 n2 n3"
assert_eq "$(get n2 nodes '[.[] | select(.node == "n1")][0].addr')" 10.77.0.1
on n2 netctl status
on n3 netctl

step "once more is no error"
assert_match "$(on n1 netctl init)" unchanged
on n1 netctl token | on n2 netctl join 10.77.0.1 --token-file -

step "the key is for root only"
assert_eq "$(on n2 stat -c %a /etc/netssi/key)" 600

step "netd killed and started again is the same member"
incarnation=$(get n1 nodes '.[] | select(.node == "n2").incarnation')
cluster netd n2 kill
cluster netd n2 start
wait_get n2 nodes '[.[] | select(.state == "up")] | length' 3
assert_eq "$(get n1 nodes '.[] | select(.node == "n2").incarnation')" "$incarnation" "incarnation of n2"
assert_eq "$(get n1 nodes '.[] | select(.node == "n2").state')" up

step "a reboot is a new incarnation of the same node"
cluster kill n3
wait_get n1 nodes '.[] | select(.node == "n3").state' dead
cluster start n3
wait_get n1 nodes '.[] | select(.node == "n3").state' up 20
[ "$(get n1 nodes '.[] | select(.node == "n3").incarnation')" != "$incarnation" ] || fail "same incarnation"

step "the whole cluster loses its power and comes back"
for n in n1 n2 n3; do cluster kill $n; done
for n in n1 n2 n3; do cluster start $n; done
for n in n1 n2 n3; do
	wait_get $n nodes '[.[] | select(.state == "up")] | length' 3 30
done

step "a node alone has no quorum"
cluster kill n2
cluster kill n3
no_quorum() { local rc=0; on n1 netctl vip add $VIP/24 >/dev/null 2>&1 || rc=$?; [ $rc = 3 ]; }
wait_for "exit status 3" 10 no_quorum
