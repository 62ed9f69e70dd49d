#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Something breaks in the middle of a move: the server runs in exactly one place afterwards, on the
# same connections, and nothing is left behind. The target's CRIU waits at a gate (a file), so that the
# fault comes when the image is complete and the copy does not run yet.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir

exposed() { wait_get "$1" vips '.[0].nodes[] | select(.node == "'"$1"'") | .state' up; }

# The target's CRIU becomes CMD.
criu_is()
{
	on "$1" sh -c 'printf "%s\n" "#!/bin/sh" "$1" >/etc/netssi/criu && chmod +x /etc/netssi/criu &&
		echo "criu = /etc/netssi/criu" >/etc/netssi/netd.conf' sh "$2"
	cluster netd "$1" stop
	cluster netd "$1" start
	wait_get "$1" status '.[0].state' up
	exposed "$1"
}
gate='while [ ! -e /run/gate ]; do sleep 0.05; done; exec /opt/criu-testing/criu "$@"'

count() { sed -n 's/^\([0-9]*\),.*/\1/p' "$TMP/count" | tail -n 1; }
counts_past() { [ "$(count)" -gt "$1" ]; }
goes_on() { wait_for "the client counts on" 20 counts_past "$(($(count) + 20))"; }
copies()
{
	local node sum=0 n
	for node in "$@"; do
		n=$(on "$node" pgrep -c -x redis-server) || :
		sum=$((sum + n))
	done
	echo $sum
}
one_copy_on()
{
	local at=$1
	shift
	for node in "$@"; do
		wait_get "$node" "ports :6379" '.[0] | "\(.node) \(.state)"' "$at owned"
		wait_get "$node" apps '.[0] | "\(.node) \(.state)"' "$at running"
		wait_get "$node" moves length 0
	done
	assert_eq "$(copies "$@")" 1 "copies in all"
	assert_eq "$(copies "$at")" 1 "copies on $at"
	for node in "$@"; do
		no_images() { [ "$(on "$node" sh -c 'ls /run/netssi/images 2>/dev/null | wc -l')" = 0 ]; }
		wait_for "no images on $node" 5 no_images
	done
}
# In the background: what becomes of it is told by $TMP/move.
move() { on n2 netctl migrate redis-server "$1" >"$TMP/move" 2>&1 & }
image_complete() { same_value n2 moves '.[0].step' image-complete; }

redis n1
wait_for "an answer" 5 answers
count_begin -i 2

step "the target cannot restore"
criu_is n3 'exit 1'
if on n2 netctl migrate redis-server n3 2>"$TMP/err"; then fail "that move worked?"; fi
grep -q 'it runs on where it was' "$TMP/err"
goes_on
one_copy_on n1 n1 n2 n3

step "the target dies while it restores"
criu_is n3 "$gate"
move n3
wait_for "the image is there" 20 image_complete
cluster kill n3
goes_on
one_copy_on n1 n1 n2
wait_get n2 nodes '.[] | select(.node == "n3") | .state' dead 20
cluster start n3
wait_get n2 nodes '[.[] | select(.state == "up")] | length' 3 20
exposed n3

step "netd dies on the source while the target restores"
move n3
wait_for "the image is there" 20 image_complete
cluster netd n1 kill
on n3 touch /run/gate
cluster netd n1 start
goes_on
at=$(get n2 apps '.[0].node')
one_copy_on "$at" n1 n2 n3

step "netd dies on the target while it restores"
exposed n1
[ "$at" = n1 ] || on n2 netctl migrate redis-server n1
on n3 rm -f /run/gate
move n3
wait_for "the image is there" 20 image_complete
cluster netd n3 kill
on n3 touch /run/gate
cluster netd n3 start
goes_on
at=$(get n2 apps '.[0].node')
one_copy_on "$at" n1 n2 n3

step "the source dies when the image is complete: the target goes on"
exposed n3
[ "$at" = n1 ] || on n2 netctl migrate redis-server n1
on n3 rm -f /run/gate
move n3
wait_for "the image is there" 20 image_complete
cluster kill n1
died() { same_value n2 nodes '.[] | select(.node == "n1") | .state' dead; }
wait_for "n1 is declared dead" 20 died
on n3 touch /run/gate
goes_on
one_copy_on n3 n2 n3

step "the client noticed nothing but pauses"
count_end
