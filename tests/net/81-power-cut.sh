#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# All nodes lose their power at the same moment, in the middle of changes, and come back: addresses, settings and all
# that was acknowledged stand; what the dead lives owned does not.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 4
cluster_vip 4
tmpdir

up_is() { wait_get "$1" nodes '[.[] | select(.state == "up")] | length' "$2" "${3:-40}"; }
NODES="n1 n2 n3 n4"
all() { local n pids=(); for n in ${2-$NODES}; do cluster "$1" $n & pids+=($!); done; wait "${pids[@]}"; }
claims() { get "$1" ports '[.[] | select(.state != "leased")] | length'; }

on n1 netctl vip add 10.77.0.101/24
on n1 netctl set nodes_min 3
for round in $(full && echo 1) 2; do
	step "round $round: all off at once while settings change"
	redis n2
	wait_for "an answer" 5 answers
	lives=$(get n1 nodes '[.[].incarnation] | join(" ")')
	on n3 sh -c 'i=2500; while netctl set lease_ms $i >/dev/null; do echo $i >>/share/acknowledged; i=$((i + 1)); done' 2>/dev/null &
	writer=$!
	touch "$NETDIR/share/acknowledged"
	some() { [ "$(wc -l <"$NETDIR/share/acknowledged")" -gt 20 ]; }
	wait_for "some changes are acknowledged" 10 some
	all kill
	wait $writer || :
	last=$(tail -n 1 "$NETDIR/share/acknowledged")
	rm "$NETDIR/share/acknowledged"
	[ "$round" = 2 ] || all start
	# The second time one node stays off for good: the others are a quorum.
	[ "$round" = 1 ] || all start "n1 n2 n4"
	up_is n1 $((5 - round))
	for n in n1 n2 n4; do
		assert_eq "$(get $n vips '[.[].addr] | sort | join(" ")')" "$VIP 10.77.0.101" "addresses on $n"
		wait_get $n vips '[.[].state] | unique | join(" ")' up 20
		now=$(on $n netctl set -j | jq '.[] | select(.key == "lease_ms").value')
		[ "$now" -ge "$last" ] && [ "$now" -le $((last + 1)) ] ||
			fail "lease_ms is $now on $n, $last was the last that was acknowledged"
		assert_eq "$(claims $n)" 0 "claims of lives that ended"
		assert_eq "$(get $n apps length)" 0 "applications of lives that ended"
	done
	for life in $(get n1 nodes '[.[] | select(.state == "up").incarnation] | join(" ")'); do
		[[ " $lives " != *" $life "* ]] || fail "a life goes on over the power cut"
	done
	assert refused 6379
	redis n1
	wait_for "a server started now answers" 10 answers
	on n1 netctl signal redis-server KILL
	wait_get n2 apps length 0
done

step "the one that stayed off is dead, not waited for, and comes back"
wait_get n1 nodes '.[] | select(.node == "n3").state' dead 15
cluster start n3
up_is n2 4
wait_get n3 vips '[.[].state] | unique | join(" ")' up 20

step "netd killed everywhere at once, in the middle of a change: the lives go on"
redis n2
wait_for "an answer" 5 answers
was=$(get n1 ports '.[0] | "\(.node) \(.epoch) \(.since)"')
for n in $NODES; do cluster netd $n kill & pids+=($!); done
on n1 netctl set voters 5 2>/dev/null || :
wait "${pids[@]}"

for n in $NODES; do cluster netd $n start & pids+=($!); done
wait "${pids[@]}"
up_is n1 4
for n in $NODES; do wait_get $n ports '.[0] | "\(.node) \(.epoch) \(.since)"' "$was" 10; done
wait_for "an answer still" 2 answers
