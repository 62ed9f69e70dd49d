#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 900
# Attacks on a cluster that talks over TIPC, on the stock kernel. The client, on the same segment, is the attacker:
# it sees what passes, can send what it likes, and has no key.
#
#	n1 --- n2 --- n3	members, encrypted TIPC
#	    client		forges, replays, joins in with no key and with its own
CLUSTER=$TEST_TOP/tests/vm/cluster
BEARER=eth0
. "${TEST_TOP:?}/tests/net/lib.sh"
# What netd said, when the test failed.
tell()
{
	local n
	[ "${rc:-0}" = 0 ] && return
	for n in n1 n2 n3; do
		echo "---- netd on $n:"
		on $n journalctl -q -o short-monotonic --no-hostname -n 25 -u netd || :
	done
}
at_exit tell
cluster_up
tmpdir
share=$TEST_O/vm/share
cp "$TEST_O/bin/tipc_attack" "$share/"
cluster_form

# A service on n2 that has nothing to do with netssi: what it hears is counted. And one that speaks to it from n1.
cat >"$share/hear.py" <<'EOF2'
import socket
s = socket.socket(socket.AF_TIPC, socket.SOCK_RDM)
s.bind((socket.TIPC_ADDR_NAMESEQ, 4711, 1, 1, socket.TIPC_CLUSTER_SCOPE))
print("listening", flush=True)
while True:
    print(s.recv(1024).rstrip(b"\0").decode(), flush=True)
EOF2
cat >"$share/say.py" <<'EOF2'
import socket, sys
s = socket.socket(socket.AF_TIPC, socket.SOCK_RDM)
for word in sys.argv[1:]:
    s.sendto(word.encode(), (socket.TIPC_ADDR_NAME, 4711, 1, 0))
EOF2
on n2 sh -c ': >/share/heard; python3 /share/hear.py >>/share/heard 2>&1 &'
wait_for "the service" 20 grep -q listening "$share/heard"
heard() { grep -c "^$1\$" "$share/heard" || :; }
say() { on n1 python3 /share/say.py "$1"; wait_for "'$1' at n2" 40 grep -q "^$1\$" "$share/heard"; }
mac=$(on n2 ip -j link show eth0 | jq -r '.[0].address')
own() { on "$1" tipc link list | sed -n 's/^\([0-9a-f]*\):eth0-.*/\1/p' | sed -n 1p; }
from=$(own n1) to=$(own n2)
[ -n "$from" ] && [ -n "$to" ] && [ "$from" != "$to" ] || fail "TIPC addresses: '$from' '$to'"
forge() { on client /share/tipc_attack forge eth0 "$mac" "$from" "$to" 4711 1 "$@"; }
forge_in_vain() { forge "$@"; say "after-$RANDOM$RANDOM"; }
up_all() { wait_get n1 nodes '[.[] | select(.state == "up")] | length' 3 "${1:-30}"; }

step "what passes is encrypted"
record_begin()
{
	on n1 /share/tipc_attack record eth0 /share/passed 600 >"$share/record" &
	recorder=$!
	wait_for "the recorder" 10 grep -q recording "$share/record"
}
record_end() { on n1 pkill -TERM -x tipc_attack; wait $recorder; }
record_begin
say hello
on n1 netctl set voters 3
record_end
cat "$share/record"
assert_match "$(cat "$share/record")" "frames [0-9]+[0-9] plain 0"

assert_eq "$(on n1 cat /proc/sys/net/tipc/key_exchange_enabled)" 0 "the kernel's own exchange of keys"

step "a forged plain frame reaches no socket, not even right after nft flush ruleset"
forge_in_vain
assert_eq "$(heard forged)" 0 "forged messages"
on n2 nft flush ruleset
forge_in_vain
forge_in_vain priority
assert_eq "$(heard forged)" 0 "forged messages"
on n2 nft list table netdev netssi | has 'counter packets [1-9][0-9]* .*drop'

# It also brings the link of n1 and n2 out of step: with the bearer it begins anew.
step "without the filter the attack works"
on n2 systemctl stop netd
on n2 nft delete table netdev netssi
forge
many_heard() { [ "$(heard forged)" -gt 10 ]; }
wait_for "forged messages arrive: else this tests nothing" 20 many_heard
echo "forged messages that arrived: $(heard forged)"
on n2 tipc bearer disable media eth device eth0
on n2 systemctl start netd
wait_get n2 nodes '[.[] | select(.state == "up")] | length' 3 60
say again
count=$(heard forged)
forge_in_vain
assert_eq "$(heard forged)" "$count" "forged messages, the filter being back"

step "a recorded frame that is sent again is not heard again"
record_begin
say only-once
record_end
on client /share/tipc_attack replay eth0 /share/passed "$mac" 5
say after-replay
assert_eq "$(heard only-once)" 1 "times that the message was heard"
up_all

step "neighbours without the key, and with another, get no link"
links=$(on n1 tipc link list | grep -c eth0)
plain() { on client sh -c 'modprobe tipc; tipc bearer enable media eth device eth0'; }
plain
sleep_until=$((SECONDS + 5)) # longer than discovery takes
while [ $SECONDS -lt $sleep_until ]; do
	assert_eq "$(on client tipc link list | grep -c eth0 || :)" 0 "links of the client"
done
on client sh -c 'tipc bearer disable media eth device eth0
	tipc node set key 0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff01020304
	tipc bearer enable media eth device eth0'
sleep_until=$((SECONDS + 5))
while [ $SECONDS -lt $sleep_until ]; do
	assert_eq "$(on client tipc link list | grep -c eth0 || :)" 0 "links of the client"
done
assert_eq "$(on n1 tipc link list | grep -c eth0)" "$links" "links of n1"
on client sh -c 'tipc bearer disable media eth device eth0; rmmod tipc || :'

step "a token that has expired"
on n3 netctl leave
on n1 netctl token --ttl 1s >"$share/token"
ended() { [ "$(on n1 date +%s)" -ge $(($1 + 2)) ]; }
wait_for "the end of the token" 10 ended "$(on n1 date +%s)"
assert_fails 1 on n3 netctl join 10.77.0.1 --bearer eth0 --token-file /share/token
on n1 journalctl -u netd | has 'token that has expired'
on n1 netctl token | on n3 netctl join 10.77.0.1 --bearer eth0 --token-file -
up_all 40

step "a new key: no link is lost, the kernel turns to it"
lost() { on "$1" dmesg | grep -c 'Lost link' || :; }
before="$(lost n1) $(lost n2) $(lost n3)"
on n3 netctl key rotate --overlap 10s
key_of() { on "$1" cat /etc/netssi/key; }
same_key() { [ "$(key_of "$1")" = "$(key_of "$2")" ]; }
for n in n1 n2; do same_key $n n3 || fail "$n has another key"; done
turned() { [ "$(on "$1" dmesg | grep -c 'TX.*is activated')" -ge 1 ]; }
for n in n1 n2 n3; do wait_for "the new key in use on $n" 60 turned $n; done
say under-the-new-key
assert_eq "$(lost n1) $(lost n2) $(lost n3)" "$before" "lost links"
up_all

step "a node that was away during a rotation has no link; it takes the key by TCP"
cluster kill n3
wait_get n1 nodes '.[] | select(.node == "n3").state' dead 20
on n1 netctl key rotate
cluster start n3
up_all 60
wait_for "the key on n3" 20 same_key n1 n3
on n2 pkill -f hear.py
