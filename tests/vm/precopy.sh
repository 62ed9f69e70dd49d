#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 900
# A server whose memory goes on changing moves in rounds: only what changed last is sent while it stands still, and what
# arrives is what it was. What fails in a round leaves it running, and nothing behind.
CLUSTER=$TEST_TOP/tests/vm/cluster
BEARER=eth0
. "${TEST_TOP:?}/tests/net/lib.sh"
share=$TEST_O/vm/share
cp "$TEST_O/bin/count-client" "$share/"
at_exit "rm -f '$share/count-client'"
cluster_up
cluster_vip
tmpdir

KEYS=20000 # of 1000 bytes; of them 300 change all the time
# Change number i writes i into key i % 300; `writer` counts them. So each key has one right value at any time.
CHANGE='for i = 1, 5 do local n = redis.call("INCR", "writer") redis.call("SETRANGE", "key:" .. n % 300, 0, string.format("%012d", n)) end'
# shellcheck disable=SC2016
WRONG='local last, wrong = tonumber(redis.call("GET", "writer")), 0
	for j = 0, ARGV[1] - 1 do
		local want, is = "value:" .. j, redis.call("GETRANGE", "key:" .. j, 0, 11)
		if j < 300 and last >= 300 then want = string.format("%012d", last - (last - j) % 300) end
		if string.sub(is, 1, #want) ~= want then wrong = wrong + 1 end
	end
	return wrong'
wrong() { cli eval "$WRONG" 0 $KEYS; }
nothing_left()
{
	local n
	for n in "$@"; do
		wait_get "$n" moves length 0 20
		no_images() { [ -z "$(on "$n" sh -c 'ls -A /run/netssi/images 2>/dev/null')" ]; }
		wait_for "no images on $n" 20 no_images
	done
}
runs_on() { wait_get n3 apps '.[0] | "\(.node) \(.state)"' "$1 running" 20; }
count() { sed -n 's/^\([0-9]*\),.*/\1/p' "$TMP/count" | tail -n 1; }
counts_past() { [ "$(count)" -gt "$1" ]; }
goes_on() { wait_for "the client counts on" 20 counts_past "$(($(count) + 10))"; }
in_a_round() { [ -n "$(on n2 find /run/netssi/images -name 'pages-*')" ]; }

on n1 ssi-run --detach redis-server --port 6379 --protected-mode no --save '' --enable-debug-command yes
wait_for "an answer" 20 answers
cli debug populate $KEYS key 1000
cli set writer 0
on client /share/count-client -s 100000 $VIP >"$TMP/count" 2>"$TMP/count.err" </dev/null &
COUNTER=$!
on client sh -c "exec redis-cli -h $VIP -r -1 -i 0.1 eval '$CHANGE' 0" >/dev/null </dev/null &
writer=$!
at_exit "kill $writer $COUNTER 2>/dev/null || :"
changed() { [ "$(cli get writer)" -ge 300 ]; }
wait_for "changes" 20 changed

step "no room for a round on the target"
on n2 mount -o remount,size=12m /run
on n3 netctl migrate redis-server n2 >"$TMP/out" 2>&1 && fail "that move worked?"
cat "$TMP/out"
has 'not moved, it runs on where it was: .*n2: no room' <"$TMP/out"
on n2 mount -o remount,size=300m /run
goes_on
runs_on n1
nothing_left n1 n2

step "in rounds"
on n3 netctl migrate redis-server n2 >"$TMP/out" 2>&1 || fail "$(cat "$TMP/out")"
cat "$TMP/out"
has 'round 1: ' <"$TMP/out"
has 'round 2: ' <"$TMP/out"
runs_on n2
assert_eq "$(wrong)" 0 "wrong values"
goes_on
nothing_left n1 n2

step "and home"
on n3 netctl migrate redis-server n1 -j >"$TMP/json"
cat "$TMP/json"
jq -e '.[0] | .rounds >= 3 and .frozen_bytes * 2 < .bytes and .rounds_end != "untracked"' "$TMP/json" >/dev/null
runs_on n1
assert_eq "$(wrong)" 0 "wrong values"
goes_on
nothing_left n1 n2

step "the target dies in a round"
on n3 netctl migrate redis-server n2 >"$TMP/out" 2>&1 &
move=$!
wait_for "a round" 20 in_a_round
cluster kill n2
assert_fails 1 wait $move
has 'not moved, it runs on where it was' <"$TMP/out"
runs_on n1
goes_on
nothing_left n1
assert_eq "$(wrong)" 0 "wrong values"

step "the client noticed nothing but pauses"
on client pkill -TERM -x count-client
wait $COUNTER || fail "connections broke: $(cat "$TMP/count.err") $(tail -n 1 "$TMP/count")"
tail -n 1 "$TMP/count"
