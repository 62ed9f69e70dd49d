#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Nodes of neighbouring versions work together, others are told so; tables of another version are replaced while
# traffic goes on.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir
cp "$TEST_O/bin/netd-next" "$TEST_O/bin/netd-far" "$NETDIR/share/"

up_is() { wait_get "$1" nodes '[.[] | select(.state == "up")] | length' "$2" "${3:-20}"; }
# as VERSION NODE: netd there becomes that of VERSION
as()
{
	cluster netd "$2" stop
	on "$2" cp "/share/netd-$1" /usr/local/sbin/netd.new
	on "$2" mv /usr/local/sbin/netd.new /usr/local/sbin/netd
	cluster netd "$2" start
	wait_get "$2" status '.[0].state' up 20
}

redis n2
wait_for "an answer" 5 answers
count_begin -i 2 -c 5

step "one node after the other becomes the next version"
for n in n3 n2 n1; do
	as next $n
	up_is n1 3
	wait_get n2 "ports :6379" '.[0].node' n2
	on n1 netctl port add :7000 node $n
	wait_get n3 "ports :7000" '.[0].node' $n 5
	on n1 netctl port del :7000
	! grep -q 'protocol' "$NETDIR"/log/n?/netd.log || fail "$(grep -h protocol "$NETDIR"/log/n?/netd.log)"
done

if full; then
	step "two versions apart: one clear line, on both sides of the connection"
	cp "$TEST_O/stage/usr/local/sbin/netd" "$NETDIR/share/netd-now"
	for n in n1 n2; do as far $n; done
	cluster netd n3 stop
	on n3 cp /share/netd-now /usr/local/sbin/netd
	cluster netd n3 start
	told() { grep -qE 'refuse.*this node speaks protocol [0-9]+ to [0-9]+, the other [0-9]+ to [0-9]+; run neighbouring versions' "$NETDIR/log/$1/netd.log"; }
	wait_for "n3 says why it gets no connection" 15 told n3
	wait_for "n1 says why it gets none" 15 told n1
	[ "$(grep -c 'speaks protocol' "$NETDIR/log/n3/netd.log")" -le 3 ] || fail "the line is repeated: $(grep 'speaks protocol' "$NETDIR/log/n3/netd.log")"
	assert_fails 3 on n3 netctl status --check >/dev/null
	up_is n1 2
	assert_fails 1 on n1 netctl migrate redis-server n3 2>"$TMP/err"
	assert_match "$(cat "$TMP/err")" 'n3 is not up.*netctl nodes'
	wait_get n2 "ports :6379" '.[0].node' n2
	for n in n1 n2 n3; do as next $n; done
	up_is n1 3

	step "joining a cluster of another version says so"
	on n3 netctl leave
	on n3 cp /share/netd-now /usr/local/sbin/netd.new
	on n3 mv /usr/local/sbin/netd.new /usr/local/sbin/netd
	cluster netd n3 stop
	cluster netd n3 start
	for n in n1 n2; do as far $n; done
	on n1 netctl token >"$TMP/token"
	assert_fails 1 on n3 netctl join 10.77.0.1 --token-file - <"$TMP/token" 2>"$TMP/err2"
	assert_match "$(cat "$TMP/err2")" 'speaks protocol .*neighbouring versions'
	for n in n1 n2; do as next $n; done
	on n1 netctl token | on n3 netctl join 10.77.0.1 --token-file -
	up_is n1 3
fi

step "tables of another ABI are replaced, traffic goes on"
foreign()
{
	on "$1" bash -euc '
		map=/sys/fs/bpf/netssi/dip_conf
		# the whole value with another number in its first four bytes
		value=($(bpftool -j map dump pinned $map | jq -r ".[0].value[]"))
		[ ${#value[@]} -gt 30000 ]
		value[0]=0xfe
		bpftool map update pinned $map key 0 0 0 0 value "${value[@]}"'
}
for n in n2 n1; do
	cluster netd $n stop
	was=$(wc -l <"$NETDIR/log/$n/netd.log")
	foreign $n
	cluster netd $n start
	wait_get $n status '.[0].state' up 20
	wait_get $n vips "[.[0].nodes[] | select(.node == \"$n\").state] | first" up 20
	log_says() { tail -n "+$((was + 1))" "$NETDIR/log/$1/netd.log" | has "in place of another version's"; }
	wait_for "$n replaced the tables" 10 log_says $n
done
wait_get n2 "ports :6379" '.[0].node' n2
wait_for "an answer still" 2 answers
lines=$(wc -l <"$TMP/count")
more() { [ "$(wc -l <"$TMP/count")" -gt $((lines + 10)) ]; }
wait_for "the client counts on" 5 more
assert_eq "$(get n2 explain\ 10.77.0.250\ $VIP:6379 '.[0].node')" n2

count_end
assert_match "$(tail -n 1 "$TMP/count")" ' resets=0 reconnects=0 .*wrong=0 '

step "what happens to sockets is seen by the new programs: a UDP claim ends with its server"
on n2 ssi-run --detach --name udp socat UDP-RECVFROM:7005,fork EXEC:cat
wait_get n1 "ports :7005/udp" '.[0].node' n2
on n2 netctl signal udp KILL
wait_get n1 "ports :7005/udp" length 0
