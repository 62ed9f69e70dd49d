#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A node leaves on which an application runs: not by oversight, and never does the application run twice.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir

redis n1
wait_for "the owner" 10 owner_is n1 n1
on n3 ssi-run --standby --detach --name redis-server redis-server --protected-mode no >/dev/null

step "refused while an application runs here"
assert_fails 1 on n1 netctl leave 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'redis-server runs on this node; .*--force'
wait_for "the port to stay" 5 owner_is n2 n1

step "with --force it ends here and the standby takes over"
on n1 netctl leave --force
gone() { ! on n1 pgrep redis-server >/dev/null; }
wait_for "the old instance to end" 10 gone
wait_get n2 apps '.[0].node' n3 20
wait_for "an answer" 10 answers

step "who is alone for good leaves by force"
last=n2 leader=$(get n2 status '.[0].leader')
[ "$leader" != n2 ] || last=n3
cluster kill "$leader"
on $last netctl leave --force
assert_fails 4 on $last netctl nodes 2>/dev/null

step "the last node ends the cluster, and all that it knows: not by oversight"
on n1 netctl init
on n1 netctl vip add $VIP/24
assert_fails 1 on n1 netctl leave 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'the cluster, its addresses and settings end with this one; .*--force'
wait_get n1 vips '.[0].addr' $VIP
on n1 netctl leave --force
assert_fails 4 on n1 netctl nodes 2>/dev/null
