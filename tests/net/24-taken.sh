#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# An address that is somebody's is no cluster address: another machine's, a gateway's, a node's, the network's own.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_form
tmpdir

refused()
{
	local addr=$1 regex=$2 rc=0
	on n1 netctl vip add "$addr" >"$TMP/out" 2>"$TMP/err" || rc=$?
	cat "$TMP/err"
	assert_eq $rc 1 "exit status for $addr"
	assert_eq "$(error_lines "$TMP/err")" 1 "lines of error"
	assert_match "$(cat "$TMP/err")" "$regex"
	assert_eq "$(get n1 vips length)" 0 "addresses"
}

step "a machine outside the cluster has it"
on client ip addr add $VIP/24 dev eth0
mac=$(on client cat /sys/class/net/eth0/address)
refused $VIP/24 "a machine outside the cluster has this address already: $mac answers on eth0; .*--force"
on n1 netctl vip add $VIP/24 --force
wait_get n3 vips '.[0].state' up
on n1 netctl vip del $VIP

step "it has given it up"
on client ip addr del $VIP/24 dev eth0
start=$(now_ms)
on n1 netctl vip add $VIP/24
[ $(($(now_ms) - start)) -lt 20000 ] || fail "it took $(($(now_ms) - start)) ms"
on n2 ssi-run --detach redis-server --port 6379 --protected-mode no --save ''
wait_for "an answer" 5 answers

step "withdrawn and added again at once: the nodes are no strangers"
for i in 1 2 3; do
	on n$i netctl vip del $VIP
	on n$i netctl vip add $VIP/24
done
wait_for "an answer" 5 answers
on n1 netctl vip del $VIP

step "a gateway, a node, also one that is down, the network itself"
on n2 ip route add 192.0.2.0/24 via 10.77.0.99
refused 10.77.0.99/24 'node n2: 10.77.0.99 is the gateway'
refused 10.77.0.3/24 '10.77.0.3 is the address of node n3 itself'
cluster kill n3
wait_get n1 nodes '.[] | select(.node == "n3") | .state' dead 15
refused 10.77.0.3/24 '10.77.0.3 is the address of node n3 itself'
refused 10.77.0.255/32 '10.77.0.255 is no address of a host'
refused 10.77.0.255/24 '10.77.0.255 is no address of a host'
refused 10.77.0.0/32 '10.77.0.0 is no address of a host'
