#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Every netd is restarted: one after the other, all at once, and all at once without warning. No claim of a living
# process goes, no connection breaks. One that is stopped and stays so is shown, then given up.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir
on n1 netctl set lease_ms 4000

NODES="n1 n2 n3"
all_up() { for n in $NODES; do wait_get $n nodes '[.[] | select(.state == "up" and .away == false)] | length' 3 20; done; }
claims() { get n1 ports '[.[] | "\(.port) \(.node) \(.app) \(.epoch) \(.since)"] | sort | join(";")'; }
kept() { wait_get $1 ports '[.[] | "\(.port) \(.node) \(.app) \(.epoch) \(.since)"] | sort | join(";")' "$was" 10; }
each()
{
	local n pids=()
	for n in $NODES; do
		cluster netd $n "$1" &
		pids+=($!)
	done
	wait "${pids[@]}"
}

i=0 clients=()
for n in $NODES; do
	on $n ssi-run --detach --name redis-$n redis-server --port $((6379 + i)) --protected-mode no --save ''
	wait_get n1 "ports :$((6379 + i))" '.[0].node' $n
	on client count-client -t 1000 -i 2 -c 4 $VIP $((6379 + i)) >"$TMP/count.$n" 2>"$TMP/err.$n" &
	clients+=($!)
	i=$((i + 1))
done
counting() { grep -q '^[0-9]' "$TMP/count.$1"; }
for n in $NODES; do wait_for "the client of $n counts" 5 counting $n; done
was=$(claims)
# On and on, on all nodes
going_on()
{
	local n
	for n in $NODES; do
		lines=$(wc -l <"$TMP/count.$n")
		wait_for "the client of $n counts on" 10 more $n
	done
}
more() { [ "$(wc -l <"$TMP/count.$1")" -gt $((lines + 5)) ]; }

step "one after the other, announced"
for n in $NODES; do
	cluster netd $n stop
	cluster netd $n start
	all_up
	for m in $NODES; do kept $m; done
done
going_on

step "all at once, announced"
each stop
each start
all_up
for m in $NODES; do kept $m; done
going_on

step "all at once, killed"
each kill
each start
all_up
for m in $NODES; do kept $m; done
going_on

step "twice in a row, the second time before the first long lease is over"
for round in 1 2; do
	each stop
	each start
	wait_get n2 status '.[0].quorum' true 20
done
all_up
for m in $NODES; do kept $m; done

best=100000
on client pkill -TERM -x count-client
wait "${clients[@]}" || fail "connections broke: $(cat "$TMP"/err.*) $(tail -qn 1 "$TMP"/count.*)"
for n in $NODES; do
	tail -n 1 "$TMP/count.$n"
	assert_match "$(tail -n 1 "$TMP/count.$n")" ' resets=0 reconnects=0 wrong=0 ' "the client of $n"
	longest=$(tail -n 1 "$TMP/count.$n" | sed 's/.*longest_ms=\([0-9]*\).*/\1/')
	[ "$longest" -lt 3000 ] || fail "the client of $n waited $longest ms: a restart is no silence"
	[ "$longest" -ge $best ] || best=$longest
done
[ $best -lt 1000 ] || fail "all clients waited $best ms and longer: a restart is no silence"

step "a netd that is stopped and stays so is shown, and given up in the end"
wait_get n1 status '.[0].healthy' true 20
cluster netd n3 stop
wait_get n1 nodes '.[] | select(.node == "n3").away' true 5
assert_fails 1 on n1 netctl status --check >"$TMP/out"
assert_match "$(cat "$TMP/out")" 'netd on n3 was stopped'
wait_get n1 nodes '.[] | select(.node == "n3").state' dead 30
no_claim() { same_value n1 "ports :6381" length 0; }
wait_for "its claim goes" 5 no_claim
assert refused 6381

step "it comes back as a new life: what it ran has ended"
cluster netd n3 start
all_up
assert_eq "$(get n1 apps '[.[] | select(.node == "n3")] | length')" 0
gone() { ! on n3 pgrep -x redis-server >/dev/null; }
wait_for "the server of the life that was given up ends" 10 gone
