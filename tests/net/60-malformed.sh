#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Malformed packets to the VIP, made by hand: counted with the name of what is wrong, nothing else happens.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
redis n2
wait_for "an answer" 5 answers
mac=$(get n1 vips '.[0].mac' | tr -d :)
eth="$mac 525400770 0fa"
src=0a4d00fa dst=0a4d0064
tcp="9c40 18eb 00000001 00000000 5002 ffff 0000 0000"

packets() { get "$1" stats "[.[] | select((.reason | ascii_upcase) == \"$2\").packets] | add // 0"; }
more() { [ "$(packets "$1" "$2")" -gt "$3" ]; }

# sent REASON FRAME: some node counts REASON after FRAME crossed the wire
sent()
{
	local reason=$1 before
	before=$(packets n1 "$reason")
	on client rawsend eth0 <<<"$2"
	wait_for "$reason is counted on n1" 3 more n1 "$reason" "$before"
	echo "$reason: counted"
}

step "headers of IP"
sent IP_SHORT "$eth 0800 4500 0028 0000 4000 40"
sent IP_HLEN "$eth 0800 4400 0028 0000 4000 4006 0000 $src $dst $tcp"
sent IP_LEN "$eth 0800 4500 0010 0000 4000 4006 0000 $src $dst $tcp"
sent IP_TRUNCATED "$eth 0800 4500 0100 0000 4000 4006 0000 $src $dst $tcp"
sent IP_VERSION "$eth 0800 6500 0028 0000 4000 4006 0000 $src $dst $tcp"

step "headers of TCP and UDP"
sent TCP_SHORT "$eth 0800 4500 0020 0000 4000 4006 0000 $src $dst 9c40 18eb 00000001 00000000"
sent TCP_OFFSET "$eth 0800 4500 0028 0000 4000 4006 0000 $src $dst 9c40 18eb 00000001 00000000 1002 ffff 0000 0000"
sent UDP_SHORT "$eth 0800 4500 0018 0000 4000 4011 0000 $src $dst 9c40 18eb"

step "VLANs too deep (a bridge and a card each may take one tag off before it counts)"
sent VLAN_DEEP "$eth 8100 0001 8100 0001 8100 0001 8100 0002 8100 0003 0800 4500 0028 0000 4000 4006 0000 $src $dst $tcp"

step "noise: 2,000 frames cut and bent anywhere"
frame=$(tr -d ' ' <<<"$eth 0800 4500 0028 0000 4000 4006 0000 $src $dst $tcp")
awk -v frame="$frame" 'BEGIN {
	srand(77)
	for (i = 0; i < 2000; i++) {
		at = int(rand() * 80) + 28
		f = substr(frame, 1, at) sprintf("%x", int(rand() * 16)) substr(frame, at + 2)
		f = substr(f, 1, 28 + int(rand() * (length(f) - 28)))
		print substr(f, 1, length(f) - length(f) % 2)
	}
}' | on client rawsend eth0
wait_for "an answer still" 2 answers
for n in n1 n2 n3; do
	on $n netctl stats >/dev/null
	on $n netctl status
done
