#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The move: a server goes from node to node under its clients, on the same connections.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir
redis n2
wait_for "an answer" 5 answers
cli set kept value

step "what cannot be done is refused before anything is frozen"
on n1 netctl migrate redis-server n3 --dry-run
assert_eq "$(get n1 "ports :6379" '.[0].node')" n2

count_begin -i 10 -c 50
sent_again() { on client ss -Htin state established dst $VIP | sed -n 's|.* retrans:[0-9]*/\([0-9]*\).*|\1|p' | awk '{n += $1} END {print n + 0}'; }

usual() { [ "$(on "$1" sh -c 'ps -L -o cls= -C ssi-run,ssi-run-init | sort -u')" = " TS" ]; }

from=n2
for to in n3 n1 n2 n3; do
	step "$from -> $to"
	before=$(sent_again)
	on n1 netctl migrate redis-server $to -j | tee "$TMP/move"
	# What waits for less than the peers' timeout of 200 ms nobody sends again.
	! full || [ "$(jq '.[0].stall_ms' "$TMP/move")" -ge 150 ] || assert_eq "$(sent_again)" "$before" "segments sent again"
	for n in n1 n2 n3; do
		wait_get $n "ports :6379" '.[0].node' $to
	done
	wait_get n1 apps '.[0] | "\(.app) \(.node) \(.state)"' "redis-server $to running"
	wait_get n1 moves length 0
	assert_eq "$(on $from pgrep -c -x redis-server || :)" 0 "copies left on $from"
	assert_eq "$(cli get kept)" value
	assert_eq "$(on $to sh -c 'ps -L -o cls= -C redis-server,ssi-init | sort -u')" " TS" "how its threads are scheduled"
	wait_for "its supervisor is as urgent as any program again" 5 usual $to
	on $to ss -Htein state established src $VIP >"$TMP/socks"
	grep -qw ts "$TMP/socks" || fail "connections without timestamps: $(cat "$TMP/socks")"
	! grep -m 3 usec_ts "$TMP/socks" || fail "connections whose clock counts in another unit now"
	from=$to
done

step "the clients noticed nothing but a pause"
count_end

step "a move to where it is already changes nothing"
on n2 netctl migrate :6379 n3 | has unchanged
wait_for "an answer" 5 answers
