#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A node is drained: its applications move away, spread over the others, none come until it is resumed.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir

on_node() { get n1 apps '[.[] | select(.node == "'"$1"'")] | length'; }
drained() { wait_get "$1" nodes '[.[] | select(.drained).node] | join(" ")' "${2-}"; }
cannot()
{
	local rc=0
	on "$@" >"$TMP/out" 2>"$TMP/err" </dev/null || rc=$?
	[ $rc != 0 ] || fail "$* worked"
	assert_eq "$(grep -vc "^  " "$TMP/err")" 1 "lines on stderr without progress: $(cat "$TMP/err")"
}
exposed() { wait_get "$1" vips '.[0].nodes[] | select(.node == "'"$1"'") | .state' up; }

redis n2
wait_for "an answer" 5 answers
count_begin -i 5
for i in 1 2; do
	on n2 ssi-run --detach --name echo$i nc -lk 700$i
done
on n2 ssi-run --name front sleep 100000 </dev/null >"$TMP/front" 2>&1 &
front=$!
wait_get n1 apps '[.[] | select(.state == "running")] | length' 4

step "all go, half of them to each of the others, and the supervisor that stays behind ends with 0"
on n1 netctl drain n2 2>"$TMP/progress" | tee "$TMP/out"
grep -q 'n2 is drained: 4 applications moved away' "$TMP/out"
grep -q 'redis-server moved, . left' "$TMP/progress"
assert_eq "$(on_node n1) $(on_node n2) $(on_node n3)" "2 0 2" "applications on n1, n2, n3"
wait $front || fail "the supervisor ended with $?: $(cat "$TMP/front")"
grep -q 'goes on on n[13]' "$TMP/front"
wait_get n3 apps '.[] | select(.app == "front").state' running
count_end

step "it is shown, and takes none"
drained n1 n2
drained n3 n2
assert_match "$(on n3 netctl)" 'node n2 is drained.*netctl resume n2' "status"
on n2 netctl nodes | has -E '^n2.* drained'
cannot n2 ssi-run --name new sleep 1000
assert_match "$(cat "$TMP/err")" 'drained.*resume'
cannot n1 netctl migrate redis-server n2
assert_match "$(cat "$TMP/err")" 'n2 is drained.*resume'
on n1 netctl drain n2 | has unchanged
on n2 ssi-run --detach --standby --name waiting sleep 1000 &
standby=$!
at_exit "kill $standby 2>/dev/null || :"
on n2 netctl migrate redis-server "$(get n2 apps '.[] | select(.app == "redis-server").node')" | has unchanged

step "resumed, it takes them again; the standby that waited comes up"
assert_eq "$(get n1 apps '[.[] | select(.app == "waiting")] | length')" 0
on n3 netctl resume n2 | has n2
on n3 netctl resume n2 | has unchanged
drained n1 ''
wait_get n1 apps '.[] | select(.app == "waiting") | "\(.node) \(.state)"' "n2 running"
on n1 netctl migrate redis-server n2 | has 'moved to n2'
cannot n1 netctl drain nobody
assert_match "$(cat "$TMP/err")" 'nobody.*netctl nodes'

full || exit 0
step "what cannot move stays, and is named"
on n2 ssi-run --detach --name stuck held group=239.77.1.2
wait_get n1 apps '.[] | select(.app == "stuck").state' running
cannot n1 netctl drain n2
grep -q '^stuck stays: .*multicast.*; ' "$TMP/out"
assert_eq "$(get n1 apps '[.[] | select(.node == "n2").app] | join(" ")')" stuck
on n1 netctl drain n2 -j >"$TMP/json" 2>/dev/null && fail "it worked" || :
jq -e '.[0] | .node == "n2" and .changed == false and .stayed[0].app == "stuck" and .stayed[0].remedy' "$TMP/json" >/dev/null
on n1 netctl signal stuck KILL

step "the drain lasts over a reboot"
cluster kill n2
wait_get n1 nodes '.[] | select(.node == "n2").state' dead 20
cluster start n2
wait_get n1 nodes '.[] | select(.node == "n2").state' up 20
drained n2 n2
cannot n2 ssi-run --name new sleep 1000
on n1 netctl resume n2

step "one that is until the next boot does not"
exposed n2
on n1 netctl migrate redis-server n2
on n2 netctl drain --until-boot | has 'n2 is drained: 1 application moved away'
drained n1 n2
cluster kill n2
wait_get n1 nodes '.[] | select(.node == "n2").state' dead 20
cluster start n2
wait_get n1 nodes '.[] | select(.node == "n2").state' up 20
drained n1 ''

step "Ctrl-C: the move that is under way is the last"
exposed n2
for app in redis-server echo1 echo2 front; do
	on n1 netctl migrate $app n2
done
slow='[ "$1" = swrk ] && while [ ! -e /run/gate ]; do sleep 0.05; done; exec /opt/criu-testing/criu "$@"'
for n in n1 n3; do
	on $n sh -c 'printf "%s\n" "#!/bin/sh" "$1" >/etc/netssi/criu && chmod +x /etc/netssi/criu &&
		echo "criu = /etc/netssi/criu" >/etc/netssi/netd.conf' sh "$slow"
	cluster netd $n stop
	cluster netd $n start
	wait_get $n status '.[0].state' up
	exposed $n
done
on n2 sh -c 'netctl drain & echo $! >/run/drain.pid; wait' 2>"$TMP/progress" &
client=$!
wait_get n2 moves '.[0].step' image-complete 20
on n2 sh -c 'kill -INT "$(cat /run/drain.pid)" || kill -TERM "$(cat /run/drain.pid)"; kill -TERM "$(cat /run/drain.pid)"'
wait $client || :
for n in n1 n3; do on $n touch /run/gate; done
wait_get n1 moves length 0 20
wait_get n1 'apps' '[.[] | select(.node == "n2")] | length' 3
drained n1 n2
on n1 netctl drain n2 | has 'n2 is drained: 3 applications moved away'
