#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# An application is frozen and thawed: nothing of it runs meanwhile, no connection is lost, and what else is asked of it
# is refused or waits.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 2
cluster_vip 2
tmpdir

is() { wait_get n2 apps '.[] | select(.app == "'"${2:-redis-server}"'") | .state' "$1"; }
count() { sed -n 's/^\([0-9]*\),.*/\1/p' "$TMP/count" | tail -n 1; }
counts_past() { [ "$(count)" -gt "$1" ]; }
goes_on() { wait_for "the client counts on" 20 counts_past "$(($(count) + 20))"; }
# bad WORDS NODE CMD...: one line that says WORDS, exit status 1
bad()
{
	local rc=0 words=$1
	shift
	on "$@" >"$TMP/out" 2>"$TMP/err" </dev/null || rc=$?
	[ $rc = 1 ] || fail "'$*' ended with $rc: $(cat "$TMP/out" "$TMP/err")"
	assert_eq "$(wc -l <"$TMP/err")" 1 "lines on stderr: $(cat "$TMP/err")"
	assert_match "$(cat "$TMP/err")" "$words.*; ."
}

redis n1
wait_for "an answer" 5 answers
count_begin -i 5 -c 5

step "frozen: nothing of it runs"
on n2 netctl freeze redis-server -j >"$TMP/json"
jq -e '.[0] | .app == "redis-server" and .node == "n1" and .state == "frozen" and .changed' "$TMP/json" >/dev/null || fail "$(cat "$TMP/json")"
is frozen
ticks() { on n1 sh -c 'for p in $(pgrep -x redis-server); do cut -d" " -f14,15 /proc/$p/stat; done'; }
before=$(ticks)
assert_fails 124 on client timeout 1 redis-cli -h $VIP PING
assert_eq "$(ticks)" "$before" "its processor time"
wait_get n2 "ports :6379" '.[0] | "\(.node) \(.app) \(.state)"' "n1 redis-server owned"

step "frozen again: unchanged; a move and a checkpoint are refused"
assert_eq "$(on n1 netctl freeze redis-server)" unchanged
bad 'frozen' n1 netctl migrate redis-server n2
bad 'frozen' n2 netctl migrate redis-server n2 --dry-run
bad 'frozen' n1 netctl checkpoint redis-server /var/tmp/kept
bad 'nobody' n1 netctl freeze nobody
is frozen

step "netd is started again: it stays frozen"
cluster netd n1 kill
cluster netd n1 start
wait_get n1 status '.[0].state' up
assert_eq "$(get n1 apps '.[0].state')" frozen
assert_eq "$(ticks)" "$before" "its processor time"

step "thawed: the client goes on, on the same connections"
on n2 netctl thaw redis-server | has 'runs on, on n1'
is running
assert_eq "$(on n1 netctl thaw redis-server)" unchanged
goes_on
assert_eq "$(on n1 sh -c 'find /sys/fs/cgroup/ssi.slice -name frozen | wc -l')" 0 "control groups left"

step "once more while it is used, then it moves"
for i in 1 2 3 4 5; do
	on n1 netctl freeze redis-server
	on n1 netctl thaw redis-server
done
goes_on
on n1 netctl migrate redis-server n2 | has 'moved to n2'
on n1 netctl freeze redis-server | has 'frozen on n2'
on n1 netctl thaw redis-server
goes_on
count_end

step "many processes that fork: all stand still"
cat >"$TMP/forks" <<'END'
#!/bin/sh
for i in 1 2 3 4 5 6 7 8; do
	while :; do /bin/true; echo >>/run/forked; done &
done
wait
END
on n1 sh -c 'cat >/run/forks; chmod +x /run/forks' <"$TMP/forks"
on n1 ssi-run --detach --name forks /run/forks
size() { on n1 stat -c %s /run/forked; }
grows() { [ "$(size)" -gt "$1" ]; }
wait_for "it works" 10 grows 100
on n2 netctl freeze forks
was=$(size)
threads() { on n1 sh -c 'cat /sys/fs/cgroup/ssi.slice/ssi-forks.scope/frozen/cgroup.events'; }
assert_match "$(threads)" 'frozen 1'
on client sleep 1
assert_eq "$(size)" "$was" "what it wrote"
on n2 netctl thaw forks
wait_for "it works again" 10 grows "$was"
on n2 netctl freeze forks

step "a signal waits until it is thawed; KILL thaws it"
on n2 netctl signal forks TERM
is frozen forks
on n2 netctl signal forks KILL
ended() { [ "$(get n1 apps 'map(select(.app == "'"$1"'")) | length')" = 0 ]; }
wait_for "its end" 10 ended forks
no_scope() { on n1 sh -c '! [ -e /sys/fs/cgroup/ssi.slice/ssi-forks.scope ]'; }
wait_for "no control group" 10 no_scope

step "its supervisor is told to end: it is thawed, and ends"
on n1 sh -c 'ssi-run --name held sh -c "trap \"echo bye; exit 7\" TERM; echo up; while :; do sleep 0.1; done" >/run/held.out 2>&1 & echo $! >/run/held.pid; wait $!; echo $? >/run/held.rc' &
up() { on n1 grep -q up /run/held.out; }
wait_for "it runs" 10 up
on n2 netctl freeze held
on n1 sh -c 'kill $(cat /run/held.pid)'
wait_for "its end" 10 ended held
wait
assert_eq "$(on n1 cat /run/held.rc)" 7
assert_match "$(on n1 cat /run/held.out)" bye

step "its supervisor is killed: nothing is left"
on n1 ssi-run --detach --name gone sleep 1000
on n1 netctl freeze gone
on n1 sh -c 'kill -9 $(pgrep -f "^ssi-run --detach --name gone")'
wait_for "its end" 10 ended gone
none() { on n1 sh -c '! [ -e /sys/fs/cgroup/ssi.slice/ssi-gone.scope ] && ! pgrep -x sleep'; }
wait_for "nothing of it" 10 none
