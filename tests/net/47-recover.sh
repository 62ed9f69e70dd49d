#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Most voters are lost for good: one survivor rebuilds the cluster, and nobody of the old one goes on beside it.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 5
tmpdir

up_is() { wait_get "$1" nodes '[.[] | select(.state == "up")] | length' "$2" "${3:-20}"; }
voters() { get "$1" nodes '[.[] | select(.role == "voter") | .node] | join(" ")'; }

cluster_vip 5
on n1 netctl set nodes_min 3
# Whoever votes: on a busy machine not always the first three.
wait_get n1 nodes '[.[] | select(.role == "voter")] | length' 3 20
read -ra lost <<<"$(voters n1)"
[ "${lost[0]}" = n1 ] || fail "n1 does not vote: ${lost[*]}"
lost=("${lost[@]:1}")
mapfile -t stay < <(printf '%s\n' n2 n3 n4 n5 | grep -vxF "$(printf '%s\n' "${lost[@]}")")
echo "lost: ${lost[*]}; they stay: ${stay[*]}"
on n1 netctl port add :7001 node n1
on "${lost[1]}" ssi-run --detach --name lost nc -lk 0.0.0.0 7002
wait_get n1 "ports :7002" '.[0].node' "${lost[1]}"
redis n1
wait_for "an answer" 5 answers

step "refused while a quorum is alive"
assert_fails 1 on n1 netctl recover --force 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'a quorum is alive'

step "the other two voters are lost, two standbys stay: without --force only the risk is named"
for n in "${lost[@]}"; do cluster kill "$n"; done
for n in n1 "${stay[@]}"; do wait_get $n status '.[0].quorum' false 15; done
no_leader() { same_value n1 status '.[0].leader' -; }
wait_for "n1 knows no leader" 10 no_leader
assert_fails 1 on n1 netctl recover 2>"$TMP/err"
cat "$TMP/err"
assert_match "$(cat "$TMP/err")" "gives up ${lost[0]}, ${lost[1]}: "'.*both clusters answer.*recover --force'
wait_get n1 status '.[0].quorum' false 5
assert_fails 3 on n1 netctl status --check >"$TMP/out"
assert_match "$(cat "$TMP/out")" 'netctl recover'

step "with --force: n1 leads a cluster of its own, what stood in the sets stands, what the lost owned is gone"
on n1 netctl recover --force | tee "$TMP/out"
assert_match "$(cat "$TMP/out")" "given up: ${lost[*]}"
assert_match "$(cat "$TMP/out")" "joining anew by themselves: ${stay[*]}"
wait_get n1 status '.[0].quorum' true 20
assert_eq "$(get n1 status '.[0].generation')" 1 "generation"
wait_get n1 vips '.[0].addr' $VIP 10
wait_for "the server that ran all the time answers" 10 answers
assert_eq "$(get n1 "ports :7001" '.[0].node')" n1 "pinned port of a survivor"
wait_get n1 "ports :7002" length 0 5

step "the other survivors join anew by themselves and vote"
up_is n1 3 30
wait_get "${stay[0]}" nodes '[.[] | select(.state == "up")] | length' 3 20
wait_get n1 nodes '[.[] | select(.role == "voter")] | length' 3 20
assert_eq "$(voters n1)" "n1 ${stay[*]}"
wait_get "${stay[0]}" vips '[.[0].nodes[] | select(.state == "up")] | length' 3 10

step "those that were given up come back together, a majority of the old voters: they join anew, too"
for n in "${lost[@]}"; do cluster start "$n"; done
up_is n1 5 40
for n in "${lost[@]}"; do
	wait_get $n status '.[0].generation' 1 20
	wait_get $n nodes '[.[] | select(.state == "up")] | length' 5 20
	wait_get $n "ports :7001" '.[0].node' n1
	wait_get $n "ports :7002" length 0
done
assert_eq "$(get "${lost[0]}" status '.[0].cluster')" "$(get n1 status '.[0].cluster')"
wait_for "an answer still" 2 answers

step "the new cluster survives the loss of power like any other"
for n in n1 n2 n3 n4 n5; do cluster kill $n & done; wait
for n in n1 n2 n3 n4 n5; do cluster start $n & done; wait
up_is n3 5 40
wait_get n5 vips '.[0].addr' $VIP
