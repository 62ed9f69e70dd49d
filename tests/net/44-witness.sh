#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Two nodes and a witness survive the loss of one; the witness only votes.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
tmpdir

up_is() { wait_get "$1" nodes '[.[] | select(.state == "up")] | length' "$2" "${3:-20}"; }

step "n3 joins as witness"
cluster_form 2
assert_match "$(on n1 netctl status)" 'add a third, which may be a witness'
on n1 netctl token | on n3 netctl join 10.77.0.1 --witness --token-file -
up_is n1 3
wait_get n1 nodes '[.[] | select(.role == "voter")] | length' 3 10
wait_get n2 nodes '[.[] | select(.witness) | .node] | join(" ")' n3
assert_match "$(on n1 netctl nodes | grep n3)" 'witness' "netctl nodes"
wait_get n1 status '.[0].healthy' true

step "it exposes nothing, runs nothing, owns nothing"
on n1 netctl vip add $VIP/24
wait_get n2 vips '.[0].state' up
wait_get n1 vips '[.[0].nodes[].node] | sort | join(" ")' "n1 n2"
assert_eq "$(on n3 ip -o route show table local | grep -c $VIP || :)" 0 "routes on the witness"
assert_eq "$(on n3 sh -c 'ls /sys/fs/bpf/netssi 2>/dev/null | wc -l')" 0 "tables on the witness"
assert_fails 125 on n3 ssi-run --detach --name x sleep 100 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'witness'
assert_fails 1 on n1 netctl port add :7000 node n3 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'n3 is a witness'
redis n1
wait_for "an answer" 5 answers
assert_fails 1 on n1 netctl migrate redis-server n3 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'n3 is a witness'

step "who serves: only those are home for ports"
wait_get n3 nodes '[.[] | select(.serving) | .node] | sort | join(" ")' "n1 n2" 10

step "no port has its home there: all that nobody owns are refused, at once"
for port in 6380 6381 6382 6383 6384 6385 6386 6387 6388 6389; do
	assert refused_at_once $port
done

step "it does not keep leadership while a node could lead"
for n in n1 n2; do cluster netd $n stop; done
for n in n1 n2; do cluster netd $n start; done
up_is n1 3
no_witness_leads() { [[ $(get n1 status '.[0].leader') == n[12] ]]; }
wait_for "n1 or n2 leads" 15 no_witness_leads

step "one node dies: the other goes on, with the votes of two"
on n2 ssi-run --detach --standby redis-server --port 6379 --protected-mode no --save ''
cluster kill n1
wait_get n2 nodes '.[] | select(.node == "n1").state' dead 10
wait_get n2 status '.[0].quorum' true 5
wait_get n2 "ports :6379" '.[0].node' n2 10
wait_for "n2 answers" 10 answers
assert_match "$(on n2 netctl status || :)" 'one more death loses the quorum'

step "it comes back"
cluster start n1
up_is n2 3
wait_get n1 status '.[0].healthy' true 20

step "the witness dies: nothing is lost, status says what that means"
cluster kill n3
wait_get n1 nodes '.[] | select(.node == "n3").state' dead 10
wait_for "an answer still" 2 answers
assert_fails 1 on n1 netctl status --check
cluster start n3
up_is n1 3
assert_eq "$(get n1 nodes '[.[] | select(.witness) | .node] | join(" ")')" n3 "the witness after its reboot"
