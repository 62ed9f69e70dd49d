#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# firewalld with the openings of docs/OPERATIONS.md, on all nodes: it is reloaded, restarted, flushed while clients
# outside and inside count on connections that they keep; what it is not told to let in stays out.
. "${TEST_TOP:?}/tests/net/lib.sh"
layer firewalld
cluster_up
tmpdir

state() { on "$1" firewall-cmd --state 2>/dev/null | has -x running; }
firewalld()
{
	on "$1" sh -c 'setsid firewalld --nofork --nopid >>/tmp/firewalld 2>&1 & echo $! >/tmp/firewalld.pid'
	wait_for "firewalld runs on $1" 20 state "$1"
}
# shellcheck disable=SC2016
firewalld_ends() { on "$1" sh -c 'pid=$(cat /tmp/firewalld.pid); kill -TERM $pid; timeout 60 tail --pid=$pid -s 0.05 -f /dev/null'; }
stays_out() { { on client nc -v -n -z -w 20 "10.77.0.${1#n}" 6379 2>&1 || :; } | has 'No route to host'; }

step "the documented openings make a cluster"
commands=$(documented firewall-cmd) || fail "docs/OPERATIONS.md names no openings"
echo "$commands"
for n in n1 n2 n3; do
	on $n sh -c 'mkdir -p /run/dbus && dbus-daemon --system --fork'
	firewalld $n
	on $n sh -ec "$commands"
done
cluster_vip
redis n1
wait_get n2 "ports :6379" '.[0].node' n1
wait_for "it answers" 5 answers
assert stays_out n1
on n2 count-client -i 5 -k inside $VIP >"$TMP/inside" 2>&1 &
inside=$!
on n1 count-client -i 5 -k own $VIP >"$TMP/own" 2>&1 &
own=$!
count_begin -i 5
more() { [ "$(on client timeout 2 redis-cli -h $VIP get count)" -gt "$1" ] 2>/dev/null; }
count_goes_on() { wait_for "the client counts on after: $1" 10 more $(($(on client redis-cli -h $VIP get count) + 10)); }

step "reload, flush and restart"
for n in n1 n2; do
	for verb in --reload --complete-reload; do
		on $n firewall-cmd $verb
		count_goes_on "$verb on $n"
	done
	on $n nft flush ruleset
	count_goes_on "flush on $n"
	firewalld_ends $n
	count_goes_on "end on $n"
	firewalld $n
	count_goes_on "start on $n"
	assert stays_out $n
done

step "a move, and back, through such firewalls"
for node in n2 n1; do
	on n1 netctl migrate redis-server $node
	count_goes_on "move to $node"
done

count_end
on n1 pkill -TERM -x count-client
on n2 pkill -TERM -x count-client
wait $inside || fail "inside: $(cat "$TMP/inside")"
wait $own || fail "on the node itself: $(cat "$TMP/own")"
tail -qn 1 "$TMP/inside" "$TMP/own"

step "its filter of reverse paths, of IPv6 only: what a node's own programs send, until it is told"
SIX=fd77::100
on n1 sh -ec "$(sed "s/ipv4/ipv6/;s/$VIP/$SIX/" <<<"$commands")"
on n1 netctl vip add $SIX/64
six() { [ "$(on "$1" timeout "${2:-2}" redis-cli -h $SIX PING 2>/dev/null)" = PONG ]; }
rpfilter() { on n1 sh -c 'netctl check -j || :' | jq -r '.[] | select(.what == "firewalld") | .ok'; }
wait_for "it answers a client" 10 six client
assert_eq "$(rpfilter)" warn "what check says"
assert_fails 1 six n1 3
on n1 sed -i 's/^IPv6_rpfilter=.*/IPv6_rpfilter=no/' /etc/firewalld/firewalld.conf
firewalld_ends n1
firewalld n1
assert_eq "$(rpfilter)" ok "what check says"
wait_for "it answers its own node" 10 six n1
