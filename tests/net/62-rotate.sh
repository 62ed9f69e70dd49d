#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A new key for the cluster: nothing stops meanwhile; who was away gets it on return; who was away too long is told so.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir
on n1 netctl set lease_ms 4000
redis n2 --name redis-server
wait_for "redis" 10 answers

key_of() { on "$1" cat /etc/netssi/key; }
same_key() { [ "$(key_of "$1")" = "$(key_of "$2")" ]; }
up_count() { wait_get "$1" nodes '[.[] | select(.state == "up")] | length' "$2" 20; }
leases() { cat "$NETDIR"/log/n[123]/netd.log | grep -c -e 'no lease' -e 'declared dead' || :; }

step "all nodes have it, and nobody noticed"
first=$(key_of n1)
on n1 netctl token | on n3 sh -c 'cat >/tmp/old-token'
on n1 sh -c 'cp /etc/netssi/key /tmp/first'
count_begin -i 2
on n2 netctl key rotate --overlap 10s | tee "$TMP/rotated"
assert_match "$(cat "$TMP/rotated")" "number 2 now"
for n in n1 n2 n3; do
	assert_eq "$(key_of $n | wc -c)" 65 "bytes of the key of $n"
	[ "$(key_of $n)" != "$first" ] || fail "$n still has the first key"
	same_key n1 $n || fail "$n has another key"
	assert_eq "$(on $n stat -c %a /etc/netssi/key)" 600
	assert_eq "$(on $n sh -c 'ls /etc/netssi/key*')" /etc/netssi/key "files beside the key on $n"
done
assert_eq "$(get n1 'sets' '.[] | select(.set == "conf") | .objects')" 2 "the lease and the key"
for n in n1 n2 n3; do
	for secret in "$first" "$(key_of n1)"; do
		! grep -r -q "$secret" "$NETDIR/log" || fail "a key is in a log"
		! on $n grep -r -q "$secret" /var/lib/netssi/raft || fail "a key is in the replicated log of $n"
	done
done

step "after the overlap the old key opens nothing, and what it had opened is made anew"
over() { [ "$(grep -l 'good no more' "$NETDIR"/log/n[123]/netd.log | wc -l)" = 3 ]; }
wait_for "the end of the old key" 30 over
count_end
up_count n1 3
assert_eq "$(leases)" 0 "lost leases"
on n3 netctl leave --force >/dev/null
assert_fails 1 on n3 netctl join 10.77.0.1 --token-file /tmp/old-token
on n1 cat /tmp/first | on n3 sh -c 'cat >/tmp/first'
assert_fails 1 on n3 netctl join 10.77.0.1 --key-file /tmp/first
on n1 netctl token | on n3 netctl join 10.77.0.1 --token-file -
up_count n1 3
same_key n1 n3 || fail "n3 has another key"

step "a node that was away takes it over when it comes back"
cluster kill n3
wait_get n1 nodes '.[] | select(.node == "n3").state' dead
on n1 netctl key rotate --overlap 5m | tee "$TMP/rotated"
assert_match "$(cat "$TMP/rotated")" "not yet on n3"
! same_key n1 n3 2>/dev/null || fail "n3 is not away"
cluster start n3
up_count n3 3
wait_for "the key on n3" 10 same_key n1 n3

step "the whole cluster loses its power while one node has the old key"
cluster kill n3
wait_get n1 nodes '.[] | select(.node == "n3").state' dead
on n1 netctl key rotate --overlap 5m
cluster kill n1
cluster kill n2
for n in n1 n2 n3; do cluster start $n; done
for n in n1 n2 n3; do up_count $n 3; done
wait_for "the key on n3" 10 same_key n1 n3

step "a node that missed two rotations is refused, and told what to do"
cluster kill n3
wait_get n1 nodes '.[] | select(.node == "n3").state' dead
on n1 netctl key rotate
on n1 netctl key rotate
cluster start n3
told() { { on n3 netctl status || :; } 2>&1 | has 'refuse this node.s key.*copy /etc/netssi/key'; }
wait_for "the remedy" 20 told
grep -q "refuse this node's key" "$NETDIR/log/n3/netd.log"
! grep -q "refuse this node's key" "$NETDIR"/log/n[12]/netd.log || fail "n1 or n2 think that their key is old"
cluster netd n3 stop
on n1 cat /etc/netssi/key | on n3 sh -c 'umask 077; cat >/etc/netssi/key'
cluster netd n3 start
up_count n3 3
on n1 netctl key rotate --overlap 10s
wait_for "the key on n3" 10 same_key n1 n3

step "bad input"
assert_fails 2 on n1 netctl key rotate --overlap 1s
assert_fails 1 on n1 netctl set cluster_key 7
assert_fails 1 on n1 setpriv --reuid 65534 --clear-groups netctl key rotate
