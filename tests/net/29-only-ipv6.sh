#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A cluster without any IPv4 address: formed, used while each netd is killed, and a node that dies and comes back.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
tmpdir
VIP=fd77::100
without_ipv4() { on "$1" ip -4 addr flush dev eth0; }
for n in n1 n2 n3 client; do
	without_ipv4 $n
done
on n1 netctl init --addr fd77::1
for n in n2 n3; do
	on n1 netctl token | on $n netctl join fd77::1 --token-file -
done
for n in n1 n2 n3; do
	wait_get $n nodes '[.[] | select(.state == "up")] | length' 3 20
done
assert_fails 1 on n1 netctl vip add fd77::3/64
on n1 netctl vip add $VIP/64
redis n2
wait_for "an answer" 10 answers

on n1 netctl set lease_ms 6000 # for a machine that is busy
step "every netd is killed and comes back: the client notices nothing"
count_begin
for n in n2 n1 n3; do
	cluster netd $n kill
	cluster netd $n start
	wait_get $n nodes '[.[] | select(.state == "up")] | length' 3 20
	wait_get $n vips '.[0].state' up 20
done
count_end

step "the owner dies: refused, and served by a new server; it comes back"
cluster kill n2
wait_get n1 "ports :6379" length 0 30
assert_fails 1 on client timeout 10 nc -z -w 8 $VIP 6379
redis n3
wait_for "an answer" 10 answers
cluster start n2
without_ipv4 n2
wait_get n2 nodes '[.[] | select(.state == "up")] | length' 3 30
wait_get n2 vips '.[0].state' up 20
for n in n1 n2 n3; do
	assert_eq "$(on $n timeout 10 redis-cli -h $VIP PING)" PONG "from $n"
done
