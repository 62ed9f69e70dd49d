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

step "the key is stolen: without overlap it opens nothing at once, nor for who knocked before, and what runs on it ends"
cat >"$NETDIR/share/thief.py" <<'EOF2'
# Knocks at n1 with a stolen key. Says that it is n2 as soon as /share/go.$1 is there, listens, tells what becomes of it.
import hashlib, json, os, socket, ssl, struct, sys, time
me, identity, key, hello = sys.argv[1:]
psk = hashlib.sha256(b"netssi tls psk 1\0" + bytes.fromhex(key)).digest()
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
tls.check_hostname, tls.verify_mode, tls.minimum_version = False, ssl.CERT_NONE, ssl.TLSVersion.TLSv1_3
tls.set_psk_client_callback(lambda hint: (identity, psk))
s = tls.wrap_socket(socket.create_connection(("10.77.0.1", 7946)))
print("knocks", flush=True)
while not os.path.exists("/share/go." + me):
    time.sleep(0.02)
def length():
    head = s.recv(4)
    return struct.unpack("<I", head)[0] if len(head) == 4 else 0
try:
    s.sendall(struct.pack("<I", len(hello)) + hello.encode())
    print("answer", s.recv(length()).decode(), flush=True)
    while s.recv(65536):
        pass
except OSError as e:
    print("error", e)
print("ended", flush=True)
EOF2
# A stream of raft from n2: heard, and never ended for saying nothing.
cluster_id=$(on n2 jq -r .cluster /var/lib/netssi/identity)
thief()
{
	on n1 cat /etc/netssi/key >"$NETDIR/share/stolen"
	on client timeout 600 python3 /share/thief.py "$1" "key-$(key_name)" "$(cat "$NETDIR/share/stolen")" '{"v": 1, "vmin": 1, "cluster": "'"$cluster_id"'",
		"purpose": "raft", "raft_id": "77", "address": "10.77.0.2:7946", "node": 2, "generation": 0}' >"$TMP/$1" 2>&1 &
	wait_for "the thief's handshake" 10 grep -q knocks "$TMP/$1"
}
key_name() { grep -h -o 'key is now number [0-9]*, [0-9a-f]*' "$NETDIR/log/n1/netd.log" | tail -n 1 | sed 's/.*, //'; }
go() { touch "$NETDIR/share/go.$1"; }
thief inside
go inside
wait_for "the thief is in" 10 grep -q answer "$TMP/inside"
assert_match "$(cat "$TMP/inside")" 'answer \{\}'
# That overlap is not over when the next key comes, and the thief has that, too.
on n2 netctl key rotate
thief knocking
assert_eq "$(cat "$TMP/inside" "$TMP/knocking" | grep -c ended || :)" 0 "thieves that are gone too early"
on n1 netctl key rotate --overlap 0 | tee "$TMP/rotated"
go knocking
assert_match "$(cat "$TMP/rotated")" 'opens nothing any more'
wait_for "the end of who knocked" 10 grep -q ended "$TMP/knocking"
wait_for "the end of who was in" 10 grep -q ended "$TMP/inside"
cat "$TMP/inside" "$TMP/knocking"
assert_match "$(cat "$TMP/knocking")" 'answer .*was replaced'
wait
for n in n2 n3; do same_key n1 $n || fail "$n has another key"; done
up_count n1 3

step "bad input"
assert_fails 2 on n1 netctl key rotate --overlap 1s
assert_fails 1 on n1 netctl set cluster_key 7
assert_fails 1 on n1 setpriv --reuid 65534 --clear-groups netctl key rotate
