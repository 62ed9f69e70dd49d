#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A disk that is full or read-only: said clearly, nothing wrong, and all goes on when there is room again.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
for n in n1 n2 n3; do
	on $n mount -t tmpfs -o size=40M,mode=700 disk /var/lib/netssi
done
cluster_vip

fill() { on "$1" sh -c 'dd if=/dev/zero of=/var/lib/netssi/fill bs=64k 2>/dev/null || :'; }
says() { local text; text=$(on "$1" netctl status 2>&1) || :; [[ $text =~ $2 ]]; }

step "a full disk when netd starts"
cluster netd n2 kill
fill n2
cluster netd n2 start
wait_for "n2 says that its disk is full" 10 says n2 'failed: the replicated log cannot be written: .*not enough space'
assert_fails 3 on n2 netctl status --check
assert_match "$(get n2 status '.[0].problems[0].remedy')" 'free space'
assert_match "$(cluster log n2)" 'the replicated log cannot be written: .*not enough space'
assert_eq "$(get n1 status '.[0].leader' | grep -c n2 || :)" 0 "n2 leads"

step "... holds the others up in nothing"
redis n1
wait_for "an answer" 5 answers
assert cli SET fruit apple >/dev/null

step "... and comes back by itself when there is room"
on n2 rm /var/lib/netssi/fill
wait_get n2 status '.[0].state' up 15
wait_get n2 "ports :6379" '.[0].node' n1
assert says n2 healthy

step "a read-only disk"
cluster netd n3 kill
on n3 mount -o remount,ro /var/lib/netssi
cluster netd n3 start
wait_for "n3 says that its disk is read-only" 10 says n3 'failed: the replicated log cannot be written'
assert_fails 3 on n3 netctl status --check
assert_eq "$(cli GET fruit)" apple
on n3 mount -o remount,rw /var/lib/netssi
wait_get n3 status '.[0].state' up 15
wait_get n1 nodes '[.[] | select(.state == "up" and .role == "voter")] | length' 3 15

step "it stays so after a restart"
cluster netd n3 kill
cluster netd n3 start
wait_get n3 status '.[0].state' up 15
wait_get n3 "ports :6379" '.[0].node' n1
