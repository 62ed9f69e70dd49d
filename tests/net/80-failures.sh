#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A node fails in every way it can: one entry declares its death, it is silent before anybody else answers, and
# when it is back nothing of its former life speaks.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir

up_is() { wait_get "$1" nodes '[.[] | select(.state == "up")] | length' "$2" "${3:-20}"; }
incarnation() { get n1 nodes '.[] | select(.node == "n2").incarnation'; }
vip_sockets() { on n2 ss -Htan "src $VIP" | wc -l; }

# Who answers whom, every few milliseconds: a second server with other contents must never alternate with the first.
run_at() { on "$1" ssi-run --detach --name redis-server redis-server --port 6379 --protected-mode no --save '' --maxclients "$2"; }
who() { on client timeout 20 redis-cli -h $VIP config get maxclients 2>/dev/null | tail -n 1; }

best=100000
# fails BREAK MEND: n2, that runs the server, fails by BREAK; n3 takes over; MEND lets n2 go on.
fails()
{
	local at dead old deaths
	step "$1"
	run_at n2 100
	wait_get n1 "ports :6379" '.[0].node' n2
	wait_for "n2 answers" 5 answers
	on client count-client -w -t 200 -i 5 $VIP >"$TMP/count" 2>"$TMP/err" &
	counter=$!
	counting() { grep -q '^[0-9]' "$TMP/count"; }
	wait_for "the client counts" 5 counting
	old=$(incarnation)
	on n1 sh -c 'netctl watch -j node >/tmp/watch.json & echo $! >/tmp/watch.pid'
	at=$(now_ms)
	$1
	wait_get n1 nodes '.[] | select(.node == "n2").state' dead 15
	dead=$(($(now_ms) - at))
	echo "declared dead after $dead ms"
	[ $dead -lt 10000 ] || fail "its death took $dead ms, the lease is 2000"
	[ $dead -ge $best ] || best=$dead
	[ $dead -ge 1500 ] || fail "declared dead after $dead ms, before its lease could have ended"
	wait_get n3 "ports :6379" length 0 2
	assert refused 6379
	run_at n3 200
	wait_for "n3 answers" 10 answers
	$2
	for i in 1 2 3 4 5 6 7 8 9 10; do assert_eq "$(who)" 200 "the server that answers while n2 returns"; done
	up_is n1 3 30
	wait_get n2 status '.[0].state' up 20
	[ "$(incarnation)" != "$old" ] || fail "it came back as the same life"
	on n1 sh -c 'kill $(cat /tmp/watch.pid)'
	deaths=$(on n1 cat /tmp/watch.json | jq -s '[.[] | select(.node == "n2" and .state == "dead")] | length')
	assert_eq "$deaths" 1 "how often its death was declared"
	wait_get n2 "ports :6379" '.[0].node' n3
	wait_get n2 apps '[.[] | select(.node == "n2")] | length' 0
	assert_eq "$(vip_sockets)" 0 "sockets of the address on n2"
	assert_eq "$(who)" 200 "the server that answers in the end"
	on client pkill -TERM -x count-client
	wait $counter || :
	tail -n 1 "$TMP/count"
	assert_match "$(tail -n 1 "$TMP/count")" ' wrong=0 ' "a value that was lost or counted twice"
	on n3 netctl signal redis-server KILL
	wait_get n1 apps length 0
}

stop_netd() { on n2 pkill -STOP -x netd; }
cont_netd() { on n2 pkill -CONT -x netd; }
kill_netd() { cluster netd n2 kill; }
# On a busy machine: a new life begins while the programs are still being loaded, and the tables are those of the old one.
start_netd()
{
	on n2 sh -c 'for i in 1 2 3 4; do nice -n -20 timeout 20 sh -c "while :; do :; done" & echo $! >>/tmp/hogs; done'
	cluster netd n2 start
	local end=$((SECONDS + 3))
	while [ $SECONDS -lt $end ]; do assert_eq "$(who)" 200 "the server that answers while n2 loads its programs"; done
	on n2 sh -c 'kill $(cat /tmp/hogs) 2>/dev/null' || :
}
stop_node() { cluster stop n2; }
cont_node() { cluster cont n2; }
pull_cable() { cluster cut n2; }
plug_cable()
{
	# A node that is cut off says so, in netctl, by its exit status and in the log.
	assert_fails 3 on n2 netctl status --check >"$TMP/out"
	assert_match "$(cat "$TMP/out")" 'no quorum as seen from this node: .* silent on the cluster addresses'
	assert_fails 3 on n2 netctl port add :7000 node n2 2>/dev/null
	grep -q 'no lease: this node is cut off' "$NETDIR/log/n2/netd.log" || fail "its log does not say so"
	cluster heal n2
}

fails stop_netd cont_netd
fails stop_node cont_node
fails kill_netd start_netd
fails pull_cable plug_cable
[ $best -lt 3000 ] || fail "no death was declared within a second after its lease of 2000 ms"

step "a shorter lease counts only when the longer ones have run out"
on n1 netctl set lease_ms 6000
assert_match "$(on n1 netctl set lease_ms 6000)" unchanged
on n2 sh -c 'netctl set | grep -q "lease_ms *6000"'
longer() { [ "$(get n2 nodes '.[] | select(.node == "n2").lease_left_ms')" -gt 4000 ]; }
wait_for "n2 holds the longer lease" 10 longer
at=$(now_ms)
left=$(get n2 nodes '.[] | select(.node == "n2").lease_left_ms')
on n2 pkill -STOP -x netd
on n1 netctl set lease_ms 500
wait_get n1 nodes '.[] | select(.node == "n2").state' dead 15
dead=$(($(now_ms) - at))
echo "held $left ms, declared dead after $dead ms"
[ $dead -gt "$left" ] || fail "declared dead after $dead ms while its lease ran for $left ms"
on n2 pkill -CONT -x netd
up_is n1 3
settled() { on n1 netctl sets -j | jq -e '.[] | select(.set == "conf") | .objects == 1' >/dev/null; }
wait_for "the longer lease is forgotten" 15 settled
at=$(now_ms)
cluster kill n2
wait_get n1 nodes '.[] | select(.node == "n2").state' dead 5
echo "with a lease of 500 ms: dead after $(($(now_ms) - at)) ms"

step "a longer lease costs nobody the one that is held"
on n1 netctl set lease_ms 2000
fences() { { cluster log n1; cluster log n3; } | grep -c 'no lease' || :; }
before=$(fences)
on n1 netctl set lease_ms 60000
long() { [ "$(get "$1" status '.[0].lease_left_ms')" -gt 10000 ]; }
wait_for "n1 holds the longer lease" 10 long n1
wait_for "n3 holds the longer lease" 10 long n3
assert_eq "$(fences)" "$before" "leases lost"

step "a lease that nobody renews is no health"
follower=n1
[ "$(get n1 status '.[0].leader')" = n3 ] || follower=n3
cluster cut $follower
unheard() { [ "$(get $follower status '[.[0].problems[].problem | select(startswith("no leader"))] | length')" = "$1" ]; }
wait_for "$follower says that it hears no leader" 20 unheard 1
cluster heal $follower
wait_for "$follower hears one" 20 unheard 0

step "settings that are none"
assert_fails 2 on n1 netctl set lease_ms 5 2>/dev/null
assert_fails 1 on n1 netctl set nonsense 5 2>/dev/null
assert_fails 2 on n1 netctl set voters 2 2>/dev/null
