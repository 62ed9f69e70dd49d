#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# guests: left as they came
# The guests themselves: what the tests stand on.
. "${TEST_TOP:?}/tests/lib.sh"
cluster=$TEST_TOP/tests/vm/cluster

on() { "$cluster" exec "$1" -- "${@:2}" </dev/null; }

step "exec gives both streams and the exit status"
out=$(on n1 sh -c 'echo out; echo err >&2; exit 7' 2>"/tmp/err.$$") && rc=0 || rc=$?
at_exit "rm -f /tmp/err.$$"
assert_eq "$out/$(cat /tmp/err.$$)/$rc" out/err/7
assert_fails 137 on n1 sh -c 'kill -9 $$'
assert_fails 127 on n1 no-such-program 2>/dev/null
assert_eq "$(head -c 3000000 /dev/zero | tr '\0' '~' | "$cluster" exec client -- md5sum)" \
	"$(head -c 3000000 /dev/zero | tr '\0' '~' | md5sum)" "input of the command"

step "a command ends with the one who asked for it"
"$cluster" exec n1 -- bash -c 'exec -a forgotten sleep 1000' </dev/null &
running() { on n1 pgrep -f ^forgotten >/dev/null; }
wait_for "the command runs" 5 running
kill -KILL $!
gone() { ! on n1 pgrep -f ^forgotten >/dev/null; }
wait_for "the command is gone" 5 gone

step "many at once"
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
	on n1 sh -c "echo $i" &
done | sort -n | tr '\n' ' ' >"/tmp/out.$$"
at_exit "rm -f /tmp/out.$$"
assert_eq "$(cat /tmp/out.$$)" "1 2 3 4 5 6 7 8 9 10 11 12 "

step "all see each other, by name"
for host in n1 n2 n3; do
	# (a guest that does not keep up loses frames, as on a real wire)
	wait_for "the client reaches $host" 10 on client ping -q -c 1 -W 5 $host
	wait_for "the client reaches $host by IPv4" 10 on client ping -q -4 -c 1 -W 5 $host
done

step "cut off without a sign, and back"
at_exit "'$cluster' heal n3"
"$cluster" cut n3
assert_fails 1 on n1 ping -q -c 1 -W 1 n3
assert_eq "$(on n3 cat /sys/class/net/eth0/carrier)" 1 "carrier of a silent cut"
"$cluster" heal n3
"$cluster" cut n3 n1
assert_fails 1 on n1 ping -q -c 1 -W 1 n3
wait_for "n2 reaches n3" 10 on n2 ping -q -c 1 -W 1 n3
"$cluster" heal n3 n1
wait_for "n1 reaches n3 again" 10 on n1 ping -q -c 1 -W 1 n3

step "/share is one directory"
on n1 sh -c 'echo from-n1 >/share/guests'
assert_eq "$(on client cat /share/guests)" from-n1
on client rm /share/guests

step "state survives a power cut"
on n3 sh -c 'echo kept >/var/lib/netssi/.guests; sync'
"$cluster" kill n3
assert_fails 1 "$cluster" exec n3 -- true
"$cluster" start n3
assert_eq "$(on n3 cat /var/lib/netssi/.guests)" kept
on n3 rm /var/lib/netssi/.guests
