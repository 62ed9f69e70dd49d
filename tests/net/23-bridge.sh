#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A node's network moves to a bridge, without native XDP: tc decides alone, and everything works as elsewhere.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
on n1 sh -c 'ip link add br0 type bridge; ip link set br0 address 52:54:00:77:00:01; ip link set br0 up
	ip link set eth0 master br0; ip addr del 10.77.0.1/24 dev eth0; ip addr add 10.77.0.1/24 dev br0'
wait_get n2 nodes '[.[] | select(.state == "up")] | length' 3 20
wait_get n2 vips '.[0].nodes[] | select(.node == "n1") | "\(.dev) \(.xdp) \(.state)"' "br0 none up"
on n1 sh -c 'bpftool net show dev br0 | grep -q dip_tc_in'
on n1 sh -c 'bpftool net show dev eth0 | grep -q dip_' && fail "programs are left on eth0" || :

step "the server is behind the bridge"
redis n1
wait_for "an answer" 5 answers
for n in client n1 n2 n3; do
	assert_eq "$(on $n timeout 20 redis-cli -h $VIP PING)" PONG "from $n"
done

step "it moves away and back under a client"
tmpdir
count_begin -i 10
for to in n2 n1; do
	on n3 netctl migrate redis-server $to
	wait_get n3 "ports :6379" '.[0].node' $to
	for n in client n1 n2 n3; do
		assert_eq "$(on $n timeout 20 redis-cli -h $VIP PING)" PONG "from $n, server on $to"
	done
done
count_end

step "unowned ports and echo requests"
for port in 1 2 3 4 5 6; do
	assert refused $port
done
on client ping -q -c 3 -i 0.2 -W 1 $VIP
