#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# An application is written to a directory and started from it, here and on another node; what is damaged or
# foreign is refused before anything starts.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 2
cluster_vip 2
tmpdir

D=/var/tmp/kept
runs() { get n1 apps '[.[] | select(.app == "redis-server") | "\(.node) \(.state)"] | join(" ")'; }
gone() { [ -z "$(runs)" ]; }
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
nothing_left()
{
	for n in n1 n2; do
		no_images() { [ "$(on $n sh -c 'ls /run/netssi/images 2>/dev/null | wc -l')" = 0 ]; }
		wait_for "no images on $n" 5 no_images
		no_keeper() { [ -z "$(on $n ls /run/netssi/apps)" ]; }
		wait_for "no supervisor on $n" 5 no_keeper
	done
	assert_eq "$(get n1 apps length)" 0 "applications"
}

redis n1
wait_for "an answer" 5 answers
cli set kept one

step "it is written and ends; its connections are closed, its port is refused"
cli set kept three
on client sh -c 'sleep 1000 | nc -w 1000 '$VIP' 6379 >/dev/null; echo ended >/run/nc' &
client=$!
at_exit "kill $client 2>/dev/null || :"
clients() { [ "$(cli client list | wc -l)" = "$1" ]; }
wait_for "its connection" 5 clients 2
on n1 netctl checkpoint redis-server $D | has "$D/1 on n1: .* has ended"
wait_for "the end" 5 gone
wait_get n2 "ports :6379" length 0
assert refused 6379
nothing_left

step "from there: as it was, without the connections"
on n1 netctl restart $D | has "redis-server runs on n1, from $D, version 1"
wait_for "an answer" 5 answers
assert_eq "$(cli get kept)" three
wait_for "no connections but ours" 5 clients 1
wait_get n2 "ports :6379" '.[0] | "\(.node) \(.app) \(.state)"' "n1 redis-server owned"
assert_eq "$(get n2 apps '.[0].flags | join(" ")')" detached
bad 'redis-server runs already, on n1' n1 netctl restart $D
on n1 netctl signal redis-server TERM
wait_for "the end" 5 gone

step "damaged: nothing starts"
image=$(on n1 sh -c "ls $D/1/pages-*.img | head -n 1")
on n1 cp "$image" /var/tmp/whole
on n1 sh -c "printf X | dd of=$image bs=1 seek=5000 conv=notrunc 2>/dev/null"
bad 'damaged: pages' n1 netctl restart $D
nothing_left

full || exit 0
step "whole again"
on n1 cp /var/tmp/whole "$image"
on n1 netctl restart $D
wait_for "an answer" 5 answers
cli set kept four

step "it is written, and its clients go on on the same connections"
count_begin -i 5 -c 5
on n2 netctl checkpoint redis-server $D --leave-running | has "$D/2 on n1: .* runs on"
on n1 netctl checkpoint redis-server $D --leave-running -j >"$TMP/json"
jq -e '.[0] | .version == 3 and .running and .bytes > 100000 and .frozen_ms > 0' "$TMP/json" >/dev/null || fail "$(cat "$TMP/json")"
count_end
assert_eq "$(runs)" "n1 running"

step "an earlier version, on another node"
on n1 netctl signal redis-server TERM
wait_for "the end" 5 gone
on n1 tar -C /var/tmp -c kept | on n2 tar -C /var/tmp -xp
on n1 netctl restart $D/2 --node n2 | has "redis-server runs on n2, from $D/2, version 2"
wait_for "an answer" 5 answers
assert_eq "$(cli get kept)" four
wait_get n1 "ports :6379" '.[0].node' n2
on n1 netctl migrate redis-server n1 | has 'moved to n1'
assert_eq "$(cli get kept)" four

step "where it cannot be written"
on n1 sh -c 'mkdir -m 777 /var/tmp/open; mkdir /var/tmp/used /var/tmp/full; touch /var/tmp/used/mine /var/tmp/file; mount -t tmpfs -o size=1m none /var/tmp/full'
bad 'others than root' n1 netctl checkpoint redis-server /var/tmp/open
bad 'not empty: mine' n1 netctl checkpoint redis-server /var/tmp/used
bad 'no directory' n1 netctl checkpoint redis-server /var/tmp/file
bad 'No such file' n1 netctl checkpoint redis-server /var/tmp/none/none
bad 'nobody' n1 netctl checkpoint nobody /var/tmp/new
bad '' n1 netctl checkpoint redis-server /var/tmp/full
assert_eq "$(on n1 sh -c 'ls -A /var/tmp/full; ls -A /var/tmp/open; ls /var/tmp/used')" mine "left there"
assert_eq "$(runs)" "n1 running"
assert_eq "$(cli get kept)" four
on n1 netctl signal redis-server TERM
wait_for "the end" 5 gone

step "incomplete, foreign: nothing starts"
image=$(on n1 sh -c "ls $D/3/pages-*.img | head -n 1")
on n1 sh -c "truncate -s -1 $image"
bad 'damaged: pages' n1 netctl restart $D
on n1 rm "$image"
bad 'incomplete: pages' n1 netctl restart $D
on n1 sh -c "echo '{\"netssi\": 99}' >$D/3/manifest.json"
bad 'another format' n1 netctl restart $D
on n1 sh -c "echo foreign >$D/3/manifest.json"
bad 'no checkpoint of netssi' n1 netctl restart $D
bad 'there is no checkpoint in it' n1 netctl restart /var/tmp/used
bad 'No such file' n1 netctl restart /var/tmp/nothing
bad 'others than root' n1 netctl restart /var/tmp/open
on n1 chown -R 65534 $D/2
bad 'others than root' n1 netctl restart $D/2
bad 'n9' n1 netctl restart $D --node n9
nothing_left

step "its port is another's meanwhile, on another node: one has it"
on n2 ssi-run --detach --name other redis-server --port 6379 --protected-mode no --save ''
wait_get n1 "ports :6379" '.[0] | "\(.node) \(.app)"' "n2 other"
bad 'Address already in use' n1 netctl restart $D/1
assert_match "$(cat "$TMP/err")" 'netctl ports'
assert_eq "$(get n1 apps '.[] | "\(.app) \(.node) \(.state)"')" "other n2 running"
wait_get n1 "ports :6379" '.[0] | "\(.node) \(.app)"' "n2 other"
assert_eq "$(cli get kept)" "" "of the other"
