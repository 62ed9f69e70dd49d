#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# ssi-run on one node, without netd: the test grants the names. stdio, signals, status, bad input.
export NETD=0
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 1
tmpdir

left() { on n1 sh -c 'ls -A /run/netssi/apps /run/netssi/lock /run/netssi/images 2>/dev/null | grep -v :; ls -d /sys/fs/cgroup/ssi.slice/*.scope 2>/dev/null' || :; }
nothing_left() { [ -z "$(left)" ]; }

step "without netd"
assert_fails 125 on n1 ssi-run true 2>"$TMP/err"
grep -q 'netd is not running' "$TMP/err"
wait_for "nothing to be left behind" 5 nothing_left

on n1 keeper-call netd n1 >"$TMP/netd" 2>&1 &
at_exit "kill $!"
wait_for "the one who grants names" 5 on n1 test -S /run/netssi/netd.sock

step "bad input"
assert_fails 125 on n1 ssi-run 2>"$TMP/err"
grep -q 'which command' "$TMP/err"
assert_fails 125 on n1 ssi-run --nmae x true 2>"$TMP/err"
grep -q 'unknown option --nmae' "$TMP/err"
assert_fails 125 on n1 ssi-run --name 'a/b' true 2>"$TMP/err"
assert_fails 125 on n1 ssi-run --user nobody-here true 2>"$TMP/err"
grep -q "no user 'nobody-here'" "$TMP/err"
assert_fails 125 on n1 ssi-run --data /no/such true 2>"$TMP/err"
assert_fails 125 on n1 ssi-run --name refused true 2>"$TMP/err"
grep -q 'runs on n9; choose another with --name' "$TMP/err"
assert_fails 127 on n1 ssi-run no-such-program 2>"$TMP/err"
assert_fails 126 on n1 ssi-run /etc/passwd 2>"$TMP/err"
wait_for "nothing to be left behind" 5 nothing_left

step "streams and exit status"
assert_eq "$(echo word | on n1 ssi-run cat)" word
assert_eq "$(on n1 ssi-run sh -c 'echo out; echo err >&2' 2>/dev/null)" out
assert_eq "$(on n1 ssi-run sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)" err
assert_fails 42 on n1 ssi-run sh -c 'exit 42'
assert_fails 137 on n1 ssi-run --name killed sh -c 'kill -KILL $$'
assert_eq "$(on n1 sh -c 'head -c 3000000 /dev/zero | ssi-run cat | wc -c')" 3000000
assert_eq "$(on n1 sh -c 'ssi-run yes | head -n 1')" y
assert_eq "$(on n1 ssi-run --user nobody id -un)" nobody
assert_eq "$(on n1 ssi-run --user nobody sh -c 'echo hi >/dev/stderr' 2>&1)" hi
assert_eq "$(on n1 ssi-run sh -c 'readlink /proc/self/ns/ipc | cut -d: -f1; ls /proc | grep -c "^[0-9]"' | sed -n 1p)" ipc

step "an application ends with all its processes"
on n1 ssi-run --name family sh -c 'sleep 1000 & sleep 1000 & exit 3' || assert_eq $? 3
wait_for "nothing to be left behind" 5 nothing_left

step "signals"
on n1 ssi-run --name trap sh -c 'trap "echo caught; exit 9" TERM; echo ready; while :; do sleep 0.05; done' >"$TMP/out" &
wait_for "the program" 5 grep -q ready "$TMP/out"
on n1 pkill -TERM -o -f 'ssi-run --name trap'
assert_fails 9 wait $!
grep -q caught "$TMP/out" || fail "the signal did not arrive"
on n1 ssi-run --name plain sleep 1000 &
wait_for "it runs" 5 on n1 sh -c 'keeper-call plain check | grep -q ok'
on n1 pkill -TERM -o -f 'ssi-run --name plain'
assert_fails 143 wait $!
on n1 ssi-run --name bykeeper sleep 1000 &
wait_for "it runs" 5 on n1 sh -c 'keeper-call bykeeper check | grep -q ok'
on n1 keeper-call bykeeper signal sig=10
assert_fails 138 wait $!

step "stop and go on, as a shell does it"
on n1 ssi-run --name tick sh -c 'while :; do echo tick; sleep 0.05; done' >"$TMP/out" &
wait_for "it runs" 5 grep -q tick "$TMP/out"
stat_of() { on n1 ps -o stat= -p "$(on n1 pgrep -o -f "$1")" | cut -c1; }
on n1 pkill -TSTP -o -f 'ssi-run --name tick'
stopped() { [ "$(stat_of 'ssi-run --name tick')" = T ] && [ "$(stat_of '^sh -c while')" = T ]; }
wait_for "both stopped" 5 stopped
on n1 pkill -CONT -o -f 'ssi-run --name tick'
goes_on() { [ "$(stat_of 'ssi-run --name tick')" != T ] && [ "$(stat_of '^sh -c while')" != T ]; }
wait_for "both go on" 5 goes_on
on n1 pkill -HUP -o -f 'ssi-run --name tick'
assert_fails 129 wait $!

step "a standby becomes the application"
assert_eq "$(on n1 ssi-run --standby --name sb sh -c 'keeper-call sb hello | jq -r .flags[]')" standby

step "a name is there once"
on n1 ssi-run --name one sleep 1000 &
first=$!
wait_for "it runs" 5 on n1 sh -c 'keeper-call one check | grep -q ok'
assert_fails 125 on n1 ssi-run --name one true 2>"$TMP/err"
grep -q 'kept on this node' "$TMP/err"
on n1 sh -c 'kill -KILL $(pgrep -o -f "ssi-run --name one")'
wait $first || :
wait_for "all of it ends with its supervisor" 5 on n1 sh -c '! pgrep -x sleep'
assert_eq "$(on n1 ssi-run --name one echo again)" again

step "detached"
assert_eq "$(on n1 ssi-run --detach --name bg sh -c 'echo line 1; echo line 2; sleep 1000')" "bg /run/netssi/log/bg.log"
wait_for "its output" 5 on n1 sh -c 'keeper-call bg logs lines=10 | grep -q "line 2"'
assert_match "$(on n1 keeper-call bg logs lines=1)" '"lines":\["line 2"\]'
on n1 keeper-call bg signal sig=15
wait_for "its end" 5 nothing_left
assert_fails 127 on n1 ssi-run --detach no-such-program 2>/dev/null

step "a service: readiness comes through"
on n1 sh -c 'socat -u UNIX-RECV:/run/notified OPEN:/run/notified.txt,creat & echo $! >/run/socat.pid'
wait_for "the manager's socket" 5 on n1 test -S /run/notified
# shellcheck disable=SC2016
on n1 sh -c 'umask 007; NOTIFY_SOCKET=/run/notified exec ssi-run --user nobody --name service sh -c "$1"' sh 'printf "MAINPID=7\nREADY=1\n" | socat -u - UNIX-SENDTO:$NOTIFY_SOCKET; sleep 0.2'
notified() { [ "$(on n1 cat /run/notified.txt)" = READY=1 ]; }
wait_for "the manager to hear of it, and of nothing else" 5 notified
on n1 sh -c 'kill $(cat /run/socat.pid)'

wait_for "nothing to be left behind" 5 nothing_left
