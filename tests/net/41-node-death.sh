#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A node loses its power: its claims go within a second of detection, clients are refused, a standby takes over.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir

best=100000
# death NODE: power off and wait until all that it owned is gone on n2
death()
{
	local at dead gone
	at=$(now_ms)
	cluster kill "$1"
	wait_get n2 nodes ".[] | select(.node == \"$1\").state" dead 10
	dead=$(now_ms)
	wait_get n2 "ports --node $1" length 0 5
	gone=$(($(now_ms) - dead))
	echo "detected after $((dead - at)) ms, claims gone $gone ms later"
	[ $gone -ge $best ] || best=$gone
}

step "no standby: refusal, not silence"
redis n3
wait_for "an answer" 5 answers
death n3
assert refused_at_once 6379
wait_get n1 apps length 0
cluster start n3
wait_get n1 nodes '[.[] | select(.state == "up")] | length' 3 20

step "the leader dies, a standby on n3 takes over"
redis n1
on n3 ssi-run --detach --standby redis-server --port 6379 --protected-mode no --save ''
wait_for "an answer" 5 answers
count_begin -w -i 5 -s 900
death n1
[ $best -lt 1000 ] || fail "the claims went $best ms after the detection"
wait_for "the standby answers" 10 answers
wait_get n2 "ports :6379" '.[0].node' n3
wait_for "the old connection is reset" 10 grep -q 'connection lost' "$TMP/count.err"
lines=$(wc -l <"$TMP/count")
again() { [ "$(wc -l <"$TMP/count")" -gt $((lines + 10)) ]; }
wait_for "the client counts again" 10 again
on client pkill -TERM -x count-client
wait || :
summary=$(tail -n 1 "$TMP/count")
echo "$summary"
# The connection that died with n1 was reset, not left in silence; until the standby is there others are refused.
assert_match "$summary" ' resets=1 reconnects=1 .* silent=0' "what the client met"

step "the old node comes back and takes nothing"
cluster start n1
wait_get n2 nodes '[.[] | select(.state == "up")] | length' 3 20
assert_eq "$(get n1 "ports :6379" '.[0].node')" n3
wait_for "an answer still" 2 answers
