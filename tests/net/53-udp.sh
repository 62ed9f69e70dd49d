#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A UDP server moves from node to node: every question is answered, by whoever has it.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip

on n1 ssi-run --detach --name echo socat udp-recvfrom:5353,bind=$VIP,fork exec:cat
wait_get n3 "ports :5353/udp" '.[0].node' n1
for node in n2 n3 n1; do
	assert_eq "$(echo "to $node" | on client nc -u -W 1 -w 20 $VIP 5353)" "to $node"
	on n2 netctl migrate echo $node
	wait_get n3 "ports :5353/udp" '.[0].node' $node
	assert_eq "$(echo "on $node" | on client nc -u -W 1 -w 20 $VIP 5353)" "on $node"
done
step "its end: port unreachable, from one node"
on n1 netctl signal echo TERM
wait_get n2 "ports :5353/udp" length 0
out=$(on client sh -c "echo x | timeout 3 socat -t 2 - udp:$VIP:5353" 2>&1 || :)
assert_match "$out" refused
