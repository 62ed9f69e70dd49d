#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Others want something of an application while it moves: a second move, its end, a node that leaves. It runs in one
# place or nowhere, and nothing stands in the way of what comes next.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
# On n3 every restore takes a while, so that something can come in between.
on n3 sh -c 'printf "%s\n" "#!/bin/sh" "sleep 0.5" "exec /opt/criu-testing/criu \"\$@\"" >/etc/netssi/criu
	chmod +x /etc/netssi/criu; echo "criu = /etc/netssi/criu" >/etc/netssi/netd.conf'
cluster netd n3 stop
cluster netd n3 start
cluster_vip
tmpdir
copies() { local n sum=0; for n in n1 n2 n3; do sum=$((sum + $(on $n pgrep -c -x redis-server || :))); done; echo $sum; }
settled() { same_value n1 moves length 0 && same_value n2 moves length 0; }
moving() { same_value n1 moves length 1; }

redis n1
wait_for "an answer" 5 answers

step "two moves at once, to different nodes: one goes, the other is told"
failed=0
on n1 netctl migrate redis-server n2 >"$TMP/1" 2>&1 &
on n3 netctl migrate redis-server n3 >"$TMP/2" 2>&1 || failed=1
wait $! || failed=$((failed + 1))
[ $failed -lt 2 ] || fail "both failed: $(cat "$TMP/1" "$TMP/2")"
wait_for "no move is left" 10 settled
assert_eq "$(copies)" 1 "copies"
wait_for "an answer" 5 answers

step "it ends in the middle of its move, at various moments"
for ms in 001 050 150 300 450; do
	[ "$(get n1 apps '.[0].node')" = n1 ] || on n1 netctl migrate redis-server n1
	on n1 netctl migrate redis-server n3 >"$TMP/move" 2>&1 &
	wait_for "the move began" 5 moving
	sleep 0.$ms # a moment, not a wait: any will do
	on n3 netctl signal redis-server KILL >/dev/null 2>"$TMP/err" || :
	wait $! || :
	if ! same_value n1 apps length 0; then # the signal met nobody who could take it
		wait_for "no move is left" 10 settled
		on n3 netctl signal redis-server KILL >/dev/null 2>&1 || :
	fi
	wait_get n1 apps length 0
	wait_get n1 "ports :6379" length 0
	wait_for "no move is left" 10 settled
	none() { [ "$(copies)" = 0 ]; }
	wait_for "no copy is left" 5 none
	redis n1 >/dev/null
	wait_for "an answer" 5 answers
done

step "the source's netd is stopped until it is declared dead, and goes on: only the copy on the target lives"
[ "$(get n1 apps '.[0].node')" = n1 ] || on n1 netctl migrate redis-server n1
count_begin -i 5
on n2 netctl migrate redis-server n3 >"$TMP/move" 2>&1 &
image_complete() { same_value n2 moves '.[0].step' image-complete; }
wait_for "the image is there" 10 image_complete
on n1 pkill -STOP -x netd
wait_get n2 nodes '.[] | select(.node == "n1") | .state' dead 20
wait_get n2 apps '.[0] | "\(.node) \(.state)"' "n3 running"
on n1 pkill -CONT -x netd
wait $! || :
wait_get n1 nodes '[.[] | select(.state == "up")] | length' 3 20
one() { [ "$(copies)" = 1 ]; }
wait_for "the frozen copy is gone" 10 one
assert_eq "$(on n3 pgrep -c -x redis-server)" 1 "copies on n3"
lines=$(wc -l <"$TMP/count")
more() { [ "$(wc -l <"$TMP/count")" -gt $((lines + 20)) ]; }
wait_for "the client counts on" 10 more
count_end
on n2 netctl migrate redis-server n1

step "the target leaves the cluster meanwhile"
on n1 netctl migrate redis-server n3 >"$TMP/move" 2>&1 &
wait_for "the move began" 5 moving
on n3 netctl leave --force
wait $! || :
wait_get n1 nodes length 2 20
wait_for "no move is left" 20 settled
if same_value n1 apps length 1; then
	assert_eq "$(copies)" 1 "copies"
	wait_for "an answer" 5 answers
else # it had arrived: leaving ended it
	assert_eq "$(copies)" 0 "copies"
	redis n1
fi

step "and the next move goes"
on n1 netctl migrate redis-server n2
wait_for "an answer" 5 answers
