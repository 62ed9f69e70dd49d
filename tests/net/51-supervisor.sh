#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# ssi-run in the foreground: stdio, signals and exit status, before and after a move.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir

step "streams and exit status"
assert_eq "$(echo word | on n1 ssi-run cat)" word
assert_eq "$(on n1 ssi-run sh -c 'echo out; echo err >&2' 2>/dev/null)" out
assert_eq "$(on n1 ssi-run sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)" err
assert_fails 42 on n1 ssi-run sh -c 'exit 42'
assert_fails 137 on n1 ssi-run --name killed sh -c 'kill -KILL $$'
assert_eq "$(on n1 sh -c 'head -c 1000000 /dev/zero | ssi-run cat | wc -c')" 1000000

step "signals"
on n1 ssi-run --name trap sh -c 'trap "echo caught; exit 9" TERM; echo ready; while :; do sleep 0.05; done' >"$TMP/out" &
wait_for "the program" 5 grep -q ready "$TMP/out"
on n1 pkill -TERM -o -f 'ssi-run --name trap'
assert_fails 9 wait $!
grep -q caught "$TMP/out" || fail "the signal did not arrive"

step "the log of a detached program outlives it"
on n1 ssi-run --name ended --detach sh -c 'echo broken; exit 3'
wait_get n1 apps 'length' 0
on n1 netctl logs ended | has broken || fail "its last words are lost"

step "a move: the supervisor stays, stdio follows"
mkfifo "$TMP/in"
on n1 ssi-run --name echo sh -c 'trap "echo caught" USR1; echo ready; while read -r line; do echo "got $line"; done; exit 5' <"$TMP/in" >"$TMP/out" 2>"$TMP/err" &
supervisor=$!
exec 7>"$TMP/in"
wait_for "the program" 5 grep -q ready "$TMP/out"
echo one >&7
wait_for "an answer" 5 grep -q 'got one' "$TMP/out"
on n1 netctl migrate echo n2
wait_get n3 apps '.[0] | "\(.app) \(.node)"' "echo n2"
echo two >&7
wait_for "an answer from n2" 5 grep -q 'got two' "$TMP/out"
on n3 netctl migrate echo n3
echo three >&7
wait_for "an answer from n3" 5 grep -q 'got three' "$TMP/out"
on n1 pkill -USR1 -o -f 'ssi-run --name echo'
wait_for "the signal on n3" 5 grep -q caught "$TMP/out"
exec 7>&-
assert_fails 5 wait $supervisor
assert_eq "$(grep -c '^got' "$TMP/out")" 3 "lines"

step "the supervisor's node dies: the application goes on, its output to the log"
on n1 ssi-run --name talk sh -c 'i=0; while :; do i=$((i + 1)); printf "%0999d\n" $i; sleep 0.002; done' >"$TMP/talk" &
wait_for "the program" 5 test -s "$TMP/talk"
on n1 netctl migrate talk n2
last() { on n2 netctl logs talk -j | jq -r '.[0].lines[-1]' | sed 's/^0*//'; }
logs_past() { local n; n=$(last) && [ "${n:-0}" -gt "$1" ]; }
cluster kill n1
wait_for "lines in the log" 20 logs_past 1
# More than the pipe and every buffer on the way hold.
wait_for "it goes on" 20 logs_past $(($(last) + 500))
