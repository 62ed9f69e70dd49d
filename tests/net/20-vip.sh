#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A cluster address: ARP answers carry its MAC, all nodes know it, it survives reboots and goes with vip del.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
mac=$(get n1 vips '.[0].mac')
assert_match "$mac" '^([0-9a-f]{2}:){5}[0-9a-f]{2}$'

step "ARP: whoever answers names the VIP's MAC, and sends from its own"
cluster capture start
on client arping -c 3 -w 20 -I eth0 $VIP >/dev/null
arps() { tcpdump -e -n -r "$NETDIR/capture.pcap" arp 2>/dev/null | grep "Reply $VIP is-at"; }
wait_for "the ARP answers in the capture" 5 arps
cluster capture stop
arps=$(arps)
assert_eq "$(grep -o 'is-at [0-9a-f:]*' <<<"$arps" | sort -u)" "is-at $mac"
grep -q "^[0-9:.]* $mac >" <<<"$arps" && fail "a frame left with the VIP's MAC as its source" || :

step "ping"
on client ping -q -c 3 -i 0.2 -W 1 $VIP
assert_eq "$(on client ip neigh show $VIP | grep -oi 'lladdr [0-9a-f:]*')" "lladdr $mac"
on client ping -c 3 -i 0.2 -W 1 $VIP | grep -c DUP && fail "several nodes answered one ping" || :

step "nodes that resolve the client again do not spoil its neighbour entry"
for n in n1 n2 n3; do
	on $n ip neigh flush all
	on $n ping -q -c 1 -W 10 10.77.0.250
done
assert_eq "$(on client ip neigh show $VIP | grep -oi 'lladdr [0-9a-f:]*')" "lladdr $mac"

step "an unowned port answers with a refusal from exactly one node"
for port in 1 22 80 6379 65535; do
	assert refused $port
done
for port in 5000 5001 5002 5003; do
	out=$(on client sh -c "echo x | timeout 3 socat -t 2 - udp:$VIP:$port" 2>&1 || :)
	assert_match "$out" refused "UDP port $port"
done

step "within the cluster"
for n in n1 n2 n3; do
	on $n ping -q -c 1 -W 10 $VIP
	assert refused 80 $n
done

step "the VIP survives a reboot"
cluster kill n2
cluster start n2
wait_get n2 vips '.[0].state' up 20
wait_for "n2 has the address again" 10 on n2 sh -c "ip route show table local | grep -q $VIP"

step "vip del takes everything away"
on n3 netctl vip del $VIP
for n in n1 n2 n3; do
	wait_get $n vips length 0
	wait_for "no trace of $VIP on $n" 5 on $n sh -c "! ip route show table all | grep -q $VIP && ! ip rule | grep -q $VIP"
done
on client ip neigh flush all
assert_fails 1 on client ping -q -c 1 -W 1 $VIP
