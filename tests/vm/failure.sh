#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 900
# Machines fail as machines do: a kernel that panics, a guest that stands still and goes on, all power at once.
# Over TIPC, under the shipped unit.
CLUSTER=$TEST_TOP/tests/vm/cluster
BEARER=eth0
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir

NODES="n1 n2 n3"
share=${VMDIR:-$TEST_O/vm}/share
cp "$TEST_O/bin/count-client" "$share/"
at_exit "rm -f '$share/count-client' '$share/acknowledged'"
up_is() { wait_get "$1" nodes '[.[] | select(.state == "up")] | length' "$2" "${3:-90}"; }
state_is() { wait_get n1 nodes ".[] | select(.node == \"$1\").state" "$2" "${3:-30}"; }
run_at() { on "$1" ssi-run --detach --name redis-server redis-server --port 6379 --protected-mode no --save '' --maxclients "$2"; }
who() { on client timeout 10 redis-cli -h $VIP config get maxclients 2>/dev/null | tail -n 1; }
answers_as() { [ "$(who)" = "$1" ]; }
ended() { on n1 netctl signal redis-server KILL 2>/dev/null || :; wait_get n1 apps length 0 20; }
serve_on() { run_at "$1" "$2"; wait_get n1 "ports :6379" '.[0].node' "$1" 30; wait_for "$1 answers" 30 answers_as "$2"; }

step "the kernel of n2 panics: TIPC says that it is gone long before its lease is over"
serve_on n2 100
on n1 netctl set tolerance_ms 50
on n1 netctl set lease_ms 8000
wait_get n1 nodes '.[] | select(.node == "n2").lease_left_ms > 6000' true 20
on n2 sh -c 'sync; echo 1 >/proc/sys/kernel/sysrq; (sleep 0.2; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &' || :
at=$(now_ms)
wait_get n1 nodes '.[] | select(.node == "n2") | "\(.state) \(.suspect)"' 'up true' 6
echo "suspected after $(($(now_ms) - at)) ms"
assert_match "$(on n1 netctl status || :)" 'node n2 is not heard'
assert_match "$(on n1 journalctl -u netd -o cat)" 'n2 is not reached over TIPC any more'
state_is n2 dead
echo "dead after $(($(now_ms) - at)) ms"
crashed() { cluster log n2 | has -a 'sysrq triggered crash'; }
assert crashed
cluster check >/dev/null || : # that panic was asked for
on n1 netctl set lease_ms 2000
on n1 netctl set tolerance_ms 500
wait_get n3 "ports :6379" length 0 5
assert refused 6379
cluster start n2
up_is n1 3
assert_eq "$(get n1 apps length)" 0

step "the guest n2 stands still, n3 takes over, n2 goes on where it was"
serve_on n2 100
on client /share/count-client -w -t 300 -i 20 $VIP >"$TMP/count" 2>"$TMP/err" </dev/null &
counter=$!
counting() { grep -q '^[0-9]' "$TMP/count"; }
wait_for "the client counts" 20 counting
cluster stop n2
state_is n2 dead
wait_get n1 "ports :6379" length 0 5
serve_on n3 200
cluster cont n2
for i in 1 2 3 4 5 6 7 8 9 10; do assert_eq "$(who)" 200 "the server that answers while n2 goes on"; done
up_is n1 3
wait_get n2 "ports :6379" '.[0].node' n3 30
wait_get n2 apps '[.[] | select(.node == "n2")] | length' 0
assert_eq "$(on n2 ss -Htan "src $VIP" | wc -l)" 0 "sockets of the address on n2"
assert_eq "$(who)" 200
on client pkill -TERM -x count-client
wait $counter || :
tail -n 1 "$TMP/count"
assert_match "$(tail -n 1 "$TMP/count")" ' wrong=0 '
ended

full || exit 0
step "all lose their power at once, and return"
serve_on n1 100
on n3 sh -c 'i=2000; while netctl set lease_ms $i >/dev/null; do echo $i >>/share/acknowledged; i=$((i + 1)); done' 2>/dev/null &
writer=$!
touch "$share/acknowledged"
some() { [ "$(wc -l <"$share/acknowledged")" -gt 5 ]; }
wait_for "some changes are acknowledged" 60 some
pids=()
for n in $NODES; do cluster kill $n & pids+=($!); done
wait "${pids[@]}"
wait $writer || :
last=$(tail -n 1 "$share/acknowledged")
pids=()
for n in $NODES; do cluster start $n & pids+=($!); done
wait "${pids[@]}"
for n in $NODES; do
	up_is $n 3
	wait_get $n vips '.[0] | "\(.addr) \(.state)"' "$VIP up" 60
	assert_eq "$(get $n ports '[.[] | select(.state != "leased")] | length')" 0 "claims of lives that ended"
	now=$(on $n netctl set -j | jq '.[] | select(.key == "lease_ms").value')
	[ "$now" -ge "$last" ] && [ "$now" -le $((last + 1)) ] || fail "lease_ms is $now on $n, $last was acknowledged"
	assert_eq "$(on $n systemctl --failed --plain --no-legend)" "" "failed units on $n"
done
assert refused 6379
serve_on n2 100
