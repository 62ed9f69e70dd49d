#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A server answers, closes and moves while slow clients still read: the kernel of the node where it was sends them the
# rest, and answers what comes late. No client gets a reset or a wrong byte.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
VIP6=fd77::100
on n1 netctl vip add $VIP6/64
tmpdir

# Sends a file on each connection and closes it at once: all of it is in the kernel then.
head -c 3000000 /dev/urandom >"$NETDIR/share/file"
sum=$(sha256sum <"$NETDIR/share/file")
cat >"$NETDIR/share/server" <<'END_SERVER'
import socket
SNDBUFFORCE = 32
data = open("/share/file", "rb").read()
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("::", 8080))
s.listen(64)
while True:
    c, _ = s.accept()
    c.setsockopt(socket.SOL_SOCKET, SNDBUFFORCE, 8000000)
    c.sendall(data)
    c.close()
END_SERVER
on n1 ssi-run --detach --name files python3 /share/server
wait_get n3 "ports :8080" '[.[].vip] | join(" ")' "$VIP $VIP6"

closing() { on "$1" ss -Htan state fin-wait-1 sport = :8080 | wc -l; }
# The one that reads may be done early.
closing_all() { [ "$(closing "$1")" -ge 2 ]; }
closing_are() { [ "$(closing "$1")" = "$2" ]; }
# gated NAME ADDRESS: reads the first bytes and no more before `open NAME`
gated()
{
	on client bash -c 'exec 3<>"/dev/tcp/$1/8080"; head -c 1000 <&3; read -r <"$2"; cat <&3' - "$2" "/tmp/$1" >"$TMP/$1" 2>"$TMP/$1.err" &
	reader[$1]=$!
}
open() { on client sh -c "echo go >/tmp/$1"; }
whole()
{
	wait "${reader[$1]}" || fail "$1 broke: $(cat "$TMP/$1.err")"
	assert_eq "$(sha256sum <"$TMP/$1")" "$sum" "$1: $(wc -c <"$TMP/$1") bytes"
}
declare -A reader
on client mkfifo /tmp/four /tmp/six /tmp/new /tmp/lost

step "clients that stand still, and one that reads slowly all the time"
gated four $VIP
gated six $VIP6
wait_for "the server closed them" 10 closing_are n1 2
{ on client bash -c 'exec 3<>"/dev/tcp/$0/8080"; for ((i = 0; i < 60; i++)); do head -c 50000 <&3; sleep 0.05; done; cat <&3' $VIP >"$TMP/slow" 2>"$TMP/slow.err"; } &
reader[slow]=$!
reads() { [ -s "$TMP/slow" ]; }
wait_for "it reads" 10 reads
on n2 netctl migrate files n2
assert_eq "$(on n1 pgrep -c python3 || :)" 0 "copies on n1"
wait_get n3 flows '[.[] | "\(.vip) \(.port) \(.node) \(.app)"] | unique | join(", ")' "$VIP 8080 n1 files, $VIP6 8080 n1 files"
wait_get n3 flows '[.[] | .client] | sort | unique | join(" ")' "10.77.0.250 fd77::250"
closing_all n1 || fail "closed connections went with the program: $(on n1 ss -tan)"

if full; then
	step "new connections go to where it is now, and netctl says who gets the others"
	gated new $VIP
	wait_for "it is served on n2" 10 closing_are n2 1
	port=$(get n3 flows '[.[] | select(.vip == "'$VIP'")][0].client_port')
	assert_eq "$(get n3 "explain 10.77.0.250:$port $VIP:8080" '.[0].node')" n1
	assert_eq "$(get n3 "explain 10.77.0.250 $VIP:8080" '.[0].node')" n2

	step "and on it moves, back to where it was: two nodes have closed connections of one port"
	on n2 netctl migrate files n3
	wait_get n1 flows '[.[].node] | unique | join(" ")' "n1 n2"
fi

step "each byte arrives"
on client ethtool -K eth0 tx off >/dev/null # what is captured has its checksum
on client tcpdump -i eth0 --immediate-mode -U -s 0 -w - tcp port 8080 >"$TMP/pcap" 2>"$TMP/tcpdump" &
wait_for "tcpdump listens" 5 grep -q 'listening on' "$TMP/tcpdump"
for name in "${!reader[@]}"; do
	[ "$name" = slow ] || open "$name"
done
for name in "${!reader[@]}"; do
	whole "$name"
done
full || exit 0

step "what comes late from a client is answered where its end was seen"
wait_for "the clients confirmed" 10 closing_are n1 0
frames() { tcpdump -e -n -r "$TMP/pcap" "$@" 2>/dev/null; }
resets() { frames 'tcp[tcpflags] & tcp-rst != 0 or (ip6 and ip6[53] & 4 != 0)'; }
fin() { frames -c 1 -xx "src host 10.77.0.250 and src port $port and tcp[tcpflags] & tcp-fin != 0" | grep "^[[:blank:]]*0x"; }
wait_for "the client's FIN" 5 fin >/dev/null
[ "$(resets | wc -l)" = 0 ] || fail "resets: $(resets)"
answers_are() { [ "$(frames "src host $VIP and dst port $port and tcp[tcpflags] = tcp-ack" | tee "$TMP/answers" | wc -l)" -gt "$1" ]; }
answers_are 100000 || before=$(wc -l <"$TMP/answers")
fin | sed 's/^[[:blank:]]*0x[0-9a-f]*://' | tr -d '\n' >"$TMP/fin"
on client rawsend eth0 <"$TMP/fin"
wait_for "an answer" 5 answers_are "$before"
tail -n 1 "$TMP/answers" | has " $(on n1 cat /sys/class/net/eth0/address) >" || fail "answered by another node: $(tail -n 1 "$TMP/answers")"

step "with its socket a flow is over"
on n1 ss -Kt state time-wait sport = :8080 >/dev/null
wait_get n3 flows '[.[] | select(.node == "n1")] | length' 0
assert_eq "$(get n1 "explain 10.77.0.250:$port $VIP:8080" '.[0].node')" n3

step "so it is when the node dies, and with an aborted move"
wait_get n3 flows '[.[] | select(.node == "n2")] | length' 1
gated lost $VIP
wait_for "it waits on n3" 10 closing_are n3 1
cluster kill n2
wait_get n3 flows length 0 20
assert_fails 1 on n1 netctl migrate files n2
assert_eq "$(get n1 flows length)" 0
open lost
whole lost
