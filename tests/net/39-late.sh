#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The cluster has no quorum while an application starts, for longer than its user is left waiting; then the claim of its
# name is committed after all. Nobody waits for it any more: the name is free again. A standby gets what it waited for.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_form
tmpdir

leader=$(get n1 status '.[0].leader')
others=$(printf '%s\n' n1 n2 n3 | grep -vx "$leader")

step "the others' netd are stopped; one program and one standby are started on $leader"
for n in $others; do
	on "$n" pkill -STOP -x netd
done
on "$leader" ssi-run --detach --standby --name waits sleep 1000 >"$TMP/waits" 2>&1 &
rc=0
on "$leader" ssi-run --detach --name late sleep 1000 >"$TMP/out" 2>"$TMP/err" || rc=$?
cat "$TMP/err"
assert_eq $rc 125 "status of ssi-run"
assert_match "$(cat "$TMP/err")" 'outcome is unknown'

step "the others go on"
for n in $others; do
	on "$n" pkill -CONT -x netd
done
wait_get "$leader" status '.[0].quorum' true 20
only_standby() { same_value "$1" apps '[.[] | "\(.app) \(.node) \(.state)"] | join(",")' "waits $leader running"; }
for n in n1 n2 n3; do
	wait_for "the standby runs, and nothing else, as $n sees it" 20 only_standby $n
done
wait $! || fail "the standby: $(cat "$TMP/waits")"
assert_eq "$(on "$leader" pgrep -c -x sleep)" 1 "programs"

step "the name is free"
on "$leader" ssi-run --detach --name late sleep 1000
wait_get n2 apps length 2
