#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What passes can be seen: counters by address, reason and port, and each packet of a flow on every node.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir
redis n2
wait_for "the server answers" 10 answers

of() { get "$1" "stats --node $1" "[.[] | select(.vip == \"$2\" and .reason == \"$3\") | .packets] | add // 0"; }
port() { get n3 "stats --ports --node $1" ".[] | select(.port == 6379 and .proto == \"tcp\" and .vip == \"$VIP\") | .$2"; }

step "counters by cluster address"
on n1 netctl vip add 10.77.0.101/24
remote=$(of n1 $VIP REMOTE)
other=$(of n1 10.77.0.101 NOT_HOME)
before=$(port n2 packets_in)
out=$(port n2 bytes_out)
for _ in 1 2 3 4 5; do cli PING >"$TMP/pong"; done
[ "$(of n1 $VIP REMOTE)" -ge $((remote + 10)) ] || fail "n1 did not count what it left to n2"
assert_eq "$(of n1 10.77.0.101 NOT_HOME)" "$other" "counted for the address that nobody called"
[ "$(of n2 $VIP OWNED)" -gt 0 ] || fail "n2 counted nothing"

step "packets and bytes of a port, on the node that answers"
[ "$(port n2 packets_in)" -ge $((before + 10)) ] || fail "the port counted $before, then $(port n2 packets_in)"
[ "$(port n2 bytes_out)" -ge $((out + 5 * 70)) ] || fail "what it sends is not counted"
assert_eq "$(get n1 "stats --ports --node n1" length)" 0
on n1 netctl vip del 10.77.0.101

step "each packet of a flow, on every node"
on n1 sh -c "netctl trace 10.77.0.250 $VIP:6379 -j >/tmp/trace.json 2>/tmp/trace.err & echo \$! >/tmp/trace.pid"
traced() { on n1 jq -se "any(.[]; $1)" /tmp/trace.json >/dev/null 2>&1; }
called() { cli PING >"$TMP/pong" && traced '.node == "n2" and .where == "in" and .reason == "OWNED" and .verdict == "ACCEPT" and .flags == "SYN"'; }
wait_for "n2 takes it" 15 called
wait_for "n2 answers" 15 traced '.node == "n2" and .where == "out" and .flags == "SYN,ACK"'
traced '.node == "n2" and .flags == "ACK"' || fail "a packet without data has no flags"
for node in n1 n3; do
	wait_for "$node leaves it to n2" 15 traced ".node == \"$node\" and .verdict == \"DROP\" and .reason == \"REMOTE\" and .for == \"n2\""
done
on client sh -c "timeout 20 nc -z $VIP 7777" || :
traced '.client_port == 0 or .where == ""' && fail "what is that?" || :
assert_eq "$(on n1 jq -s 'map(.time) | . == sort' /tmp/trace.json)" true "in the order of time"

step "through a move"
count_begin
on n2 netctl migrate redis-server n3
moved() { traced '.verdict == "HOLD" and .reason == "HOLD"' && traced '.where == "queue" and .node == "n3"' && traced '.node == "n3" and .reason == "OWNED"'; }
wait_for "held, given back on n3, then taken there" 15 moved
count_end
on n1 sh -c 'kill -TERM $(cat /tmp/trace.pid)'

step "four at a time; those that end make room"
port=0
room() { { on n2 netctl trace 10.77.0.250:9 $VIP:6379 --seconds 1 || :; } 2>"$TMP/err" >&2; ! has 'four flows are watched' <"$TMP/err"; }
fill()
{
	port=$((port + 1))
	on n3 sh -c "netctl trace 10.77.0.250:$port $VIP:6379 -j >/dev/null 2>&1 & echo \$! >>/tmp/traces"
	! room
}
wait_for "no room for one more" 30 fill
[ $port -ge 4 ] || fail "full with $port"
on n3 sh -c 'kill -KILL $(cat /tmp/traces) 2>/dev/null' || :
wait_for "there is room again" 20 room

step "bad input"
assert_fails 2 on n1 netctl trace nobody $VIP:6379
assert_fails 2 on n1 netctl trace 10.77.0.250 :6379
assert_fails 1 on n1 netctl trace 10.77.0.250 10.77.0.7:6379
