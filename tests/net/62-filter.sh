#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The filter against plain TIPC frames, on a pair of interfaces of its own:
#
#	va (frames are sent here) ---- vb (a socket that hears what TIPC would hear)
#
# No TIPC is needed: a packet socket of the protocol sits where TIPC's bearer would.
. "${TEST_TOP:?}/tests/lib.sh"
need nft python3
if [ -z "${FILTER_NETNS-}" ]; then
	FILTER_NETNS=1 exec unshare --net -- "$0"
fi
tmpdir

ip link set lo up
ip link add va type veth peer name vb
ip link set va up
ip link set vb up

# Prints the payload's first byte of each TIPC frame that gets through, as two hex digits.
cat >"$TMP/hear.py" <<'EOF2'
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x88ca))
s.bind(("vb", 0x88ca))
print("listening", flush=True)
while True:
    data, addr = s.recvfrom(2048)
    if addr[2] <= 2 and data[-1:] != b"\0": # TIPC takes host, broadcast and multicast only
        print("%02x" % data[-1], flush=True)
EOF2
python3 "$TMP/hear.py" >>"$TMP/heard" &
hear=$!
at_exit "kill $hear"
wait_for "the listener" 5 grep -q listening "$TMP/heard"

# Frames that carry TIPC in all the ways that the kernel unpacks by itself; the last byte tells them apart.
mac() { ip -j link show "$1" | jq -r '.[0].address'; }
dst=$(mac vb) src=$(mac va)
eth=${dst//:/}${src//:/}
plain=5a000000 crypted=fa000000
pad() { printf '%0*d' "$1" 0; }
frames()
{
	echo "$eth 88ca $plain $(pad 100) $1"
	echo "$eth 8100 0000 88ca $plain $(pad 100) $2"
	echo "$eth 8100 e000 88ca $plain $(pad 100) $3"
	echo "$eth 88a8 0000 88ca $plain $(pad 100) $4"
	echo "$eth 8100 0000 8100 0000 88ca $plain $(pad 100) $5"
	echo "$eth 88a8 0000 8100 0000 88ca $plain $(pad 100) $6"
	echo "$eth 8100 0000 8100 0000 8100 0000 88ca $plain $(pad 100) $7"
	echo "$eth 8100 0000 88a8 0000 8100 0000 8100 0000 88ca $plain $(pad 100) $8"
	echo "$eth 88ca $9"
}
# An encrypted one comes last: when it is there all before it were there or dropped.
send()
{
	: >"$TMP/heard"
	{ frames "$@"; echo "$eth 88ca $crypted $(pad 100) ee"; echo "$eth 8100 0000 88ca $crypted $(pad 100) ef"; } | rawsend va
	wait_for "the encrypted frames" 5 grep -q ef "$TMP/heard"
	grep -v -e ee -e ef "$TMP/heard" | tr '\n' ' ' || :
}
all="a1 a2 a3 a4 a5 a6 a7 a8 a9"

step "without the filter the attack works"
# shellcheck disable=SC2086
assert_eq "$(send $all)" "$all " "plain frames heard"

step "the obvious rule lets tagged ones in"
nft 'table netdev obvious { chain c { type filter hook ingress device vb priority 0; ether type 0x88ca @nh,0,3 != 7 drop; }; }'
# shellcheck disable=SC2086
assert_match "$(send $all)" "a2"
nft delete table netdev obvious

hold()
{
	mkfifo "$TMP/hold.$1"
	filter_hold "${@:2}" <"$TMP/hold.$1" >"$TMP/hold.out.$1" 2>"$TMP/hold.err.$1" &
	holder=$!
	exec {hold_fd}>"$TMP/hold.$1"
	wait_for "the filter" 5 grep -q guarded "$TMP/hold.out.$1"
}
release()
{
	exec {hold_fd}>&-
	wait "$holder" || :
}

step "the filter keeps all of them out"
hold owned vb
# shellcheck disable=SC2086
assert_eq "$(send $all)" "" "plain frames heard"

step "nobody else can take it away: nft flush ruleset, delete table"
nft flush ruleset
nft delete table netdev netssi 2>/dev/null || :
# shellcheck disable=SC2086
assert_eq "$(send $all)" "" "plain frames heard"
assert nft list table netdev netssi >"$TMP/list"

step "it outlives its owner, and the next one takes it over"
release
# shellcheck disable=SC2086
assert_eq "$(send $all)" "" "plain frames heard without a netd"
hold again vb
nft flush ruleset
# shellcheck disable=SC2086
assert_eq "$(send $all)" "" "plain frames heard"
release
nft delete table netdev netssi
# shellcheck disable=SC2086
assert_eq "$(send $all)" "$all " "plain frames heard"

step "without owners of tables it is put back, and that is logged"
hold shared --shared vb
best=100000
for change in 'flush ruleset' 'delete table netdev netssi' 'flush chain netdev netssi vb' \
	'insert rule netdev netssi vb accept'; do
	: >"$TMP/hold.err.shared"
	nft "$change"
	sent=${EPOCHREALTIME//[!0-9]/}
	wait_for "the filter to be back after: $change" 1 grep -q "in place again" "$TMP/hold.err.shared"
	ms=$(((${EPOCHREALTIME//[!0-9]/} - sent) / 1000))
	[ $ms -ge $best ] || best=$ms
	# shellcheck disable=SC2086
	assert_eq "$(send $all)" "" "plain frames heard after: $change"
done
echo "put back within $best ms, the best of four"
[ $best -lt 100 ] || fail "it was never back in 100 ms"
release
