#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A cluster address of IPv6 beside one of IPv4: neighbour discovery, who answers, sockets of both families, and its end.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir
VIP6=fd77::100

step "an address that is somebody's, or nobody's, is refused"
refused()
{
	local status=$1 addr=$2 regex=$3
	assert_fails "$status" on n1 netctl vip add "$addr" 2>"$TMP/err"
	assert_eq "$(error_lines "$TMP/err")" 1 "lines of error"
	assert_match "$(cat "$TMP/err")" "$regex"
}
on client ip addr add $VIP6/64 dev eth0 nodad
refused 1 $VIP6/64 "a machine outside the cluster has this address already: $(on client cat /sys/class/net/eth0/address) answers"
on client ip addr del $VIP6/64 dev eth0
refused 1 fd77::1/64 'node n1: fd77::1 is an address of that node itself'
refused 1 fd77::2/64 '(node n2|a machine outside the cluster) has this address already'
refused 1 fd77::/64 'fd77:: is no address of a host'
refused 1 fe80::100/64 'fe80::100 is no address of a host'
refused 1 ff02::1/64 'is no address of a host'
refused 1 fd78::100/64 'no interface is on the network of fd78::100'
refused 1 $VIP6/48 'is fd77::/64, not /48'
refused 2 $VIP6/129 'bad address'
assert_eq "$(get n1 vips length)" 1 "addresses"

step "all nodes have it, with one MAC, and nobody sends from it by chance"
on n1 netctl vip add $VIP6/64
wait_get n2 vips '.[] | select(.addr == "fd77::100") | "\(.prefix) \(.state) \([.nodes[].state] | join(","))"' "64 up up,up,up"
mac=$(get n1 vips '.[] | select(.addr == "fd77::100").mac')
for n in n1 n2 n3; do
	on $n ip -6 addr show dev eth0 | has "inet6 $VIP6/128 .*deprecated"
	on $n ip -6 route get fd77::250 | has -v "src $VIP6 "
	on $n ip -6 maddr show dev eth0 | has ff02::1:ff00:100
done

step "neighbours: whoever answers or asks names the VIP's MAC, and sends from its own"
cluster capture start
on client ip neigh flush all
on client ping -q -c 3 -i 0.2 -W 1 $VIP6
assert_eq "$(on client ip neigh show $VIP6 | grep -oi 'lladdr [0-9a-f:]*')" "lladdr $mac"
on n2 ip neigh flush all
on n2 ping -q -c 1 -W 1 -I $VIP6 fd77::250 || : # the answer may be another node's
cluster capture stop
tcpdump -e -n -v -r "$NETDIR/capture.pcap" icmp6 >"$TMP/nd" 2>/dev/null
grep -A 3 "tgt is $VIP6" "$TMP/nd" | grep -o 'destination link-address.*: .*' | sort -u >"$TMP/told"
assert_match "$(cat "$TMP/told")" "$mac$"
assert_eq "$(wc -l <"$TMP/told")" 1 "link-layer addresses told"
grep "$mac >" "$TMP/nd" && fail "a frame left with the VIP's MAC as its source"
grep -i 'bad icmp6 cksum' "$TMP/nd" && fail "a checksum is wrong"
on client ping -c 3 -i 0.2 -W 1 $VIP6 | grep DUP && fail "several nodes answered one ping"
for n in n1 n2 n3; do
	on $n ping -q -c 1 -W 10 $VIP6
done

# at_once FUNCTION: on the client and on all nodes
at_once()
{
	local node pids=()
	for node in client n1 n2 n3; do
		"$1" $node &
		pids+=($!)
	done
	for node in "${pids[@]}"; do
		wait "$node"
	done
}

step "an unowned port: refused by one node, from outside and inside"
unowned()
{
	local port out
	for port in 1 22 6379; do
		assert_fails 1 on "$1" timeout 3 nc -z -w 2 $VIP6 $port
	done
	out=$(on "$1" sh -c "echo x | timeout 3 socat -t 2 - udp6:[$VIP6]:5000" 2>&1 || :)
	assert_match "$out" refused "UDP port 5000 from $1"
}
at_once unowned

# answer NODE ADDRESS PORT: what a server there says
answer() { on "$1" timeout 30 socat -u "tcp:$2:$3,connect-timeout=20" - 2>/dev/null; }
serve() { on "$1" ssi-run --detach --name "$2" socat "$3" "system:echo $2"; }
# ... as every node sees it: one that does not yet would refuse, if the port is at home there
claimed()
{
	local n
	for n in n1 n2 n3; do
		wait_get $n "ports :$1" '[.[] | "\(.vip) \(.addr) \(.node)"] | sort | join(", ")' "$2"
	done
}

step "a wildcard listener of both families, one of IPv6 only, one of IPv4 only, one on the address"
serve n1 both tcp6-listen:8001,ipv6only=0,fork
serve n2 six tcp6-listen:8002,ipv6only=1,fork
serve n3 four tcp4-listen:8003,fork
serve n3 exact "tcp6-listen:8004,bind=[$VIP6],fork"
claimed 8001 "$VIP 0.0.0.0 n1, $VIP6 :: n1"
claimed 8002 "$VIP6 :: n2"
claimed 8003 "$VIP 0.0.0.0 n3"
claimed 8004 "$VIP6 $VIP6 n3"
reached()
{
	assert_eq "$(answer "$1" $VIP 8001)" both "IPv4 from $1"
	assert_eq "$(answer "$1" "[$VIP6]" 8001)" both "from $1"
	assert_eq "$(answer "$1" "[$VIP6]" 8002)" six "from $1"
	assert_eq "$(answer "$1" $VIP 8003)" four "IPv4 from $1"
	assert_eq "$(answer "$1" "[$VIP6]" 8004)" exact "from $1"
	assert_fails 1 answer "$1" $VIP 8002
	assert_fails 1 answer "$1" "[$VIP6]" 8003
	assert_fails 1 answer "$1" $VIP 8004
}
at_once reached

step "what one machine would refuse, the cluster refuses"
taken()
{
	local out rc=0
	out=$(on "$1" timeout 20 ssi-run --name second socat "$2" /dev/null 2>&1) || rc=$?
	assert_eq $rc 1 "$2 on $1"
	assert_match "$out" 'Address already in use'
}
taken n2 tcp4-listen:8001
taken n2 tcp6-listen:8001,ipv6only=1
taken n3 "tcp6-listen:8001,bind=[$VIP6]"
taken n1 tcp6-listen:8002,ipv6only=0
taken n1 "tcp6-listen:8002,bind=[$VIP6]"
taken n1 tcp6-listen:8003,ipv6only=0
serve n1 four2 tcp4-listen:8002,fork
serve n1 six2 tcp6-listen:8003,ipv6only=1,fork
claimed 8002 "$VIP 0.0.0.0 n1, $VIP6 :: n2"
claimed 8003 "$VIP 0.0.0.0 n3, $VIP6 :: n1"
assert_eq "$(answer client $VIP 8002) $(answer client "[$VIP6]" 8002)" "four2 six"

step "UDP, also in fragments"
on n2 ssi-run --detach --name echo socat -b 9000 udp6-recvfrom:5353,bind=[$VIP6],fork exec:cat
wait_get n3 "ports :5353/udp" '.[0] | "\(.vip) \(.node)"' "$VIP6 n2"
on client sh -c "head -c 5000 /dev/urandom | base64 -w 0 | head -c 4000" >"$TMP/long"
echoed()
{
	assert_eq "$(on "$1" sh -c "echo to $1 | socat -t 2 - udp6:[$VIP6]:5353")" "to $1"
	on "$1" socat -b 9000 -t 2 - "udp6:[$VIP6]:5353" <"$TMP/long" >"$TMP/back.$1"
	assert cmp "$TMP/long" "$TMP/back.$1"
}
at_once echoed

step "shown with brackets where a port follows"
on n1 netctl ports | has -F "[$VIP6]:8001"
assert_eq "$(get n1 "ports [$VIP6]:8001" '.[] | "\(.vip) \(.port)"')" "$VIP6 8001"
assert_eq "$(get n1 "explain [fd77::250]:1234 [$VIP6]:8002" '.[0] | "\(.node) \(.reason) \(.client) \(.addr)"')" "n2 OWNED fd77::250 ::"
assert_eq "$(get n1 "explain fd77::250 [$VIP6]:8002" '[.[0].checks[] | select(.ok)] | length')" 3 "checks that pass"
assert_eq "$(get n1 "explain fd77::250 [$VIP6]:82" '.[0].reason')" HOME
assert_fails 2 on n1 netctl explain 10.77.0.250 "[$VIP6]:82"
on n3 netctl port add "[$VIP6]:22" node n2
assert_eq "$(get n1 "ports :22" '.[] | "\(.vip) \(.node) \(.state)"')" "$VIP6 n2 pinned"
on n3 netctl port del "[$VIP6]:22"

step "what others take away comes back"
on n2 sh -c "ip -6 addr del $VIP6/128 dev eth0; ip -6 rule del pref 50; ip -6 route flush table 7946; ip -6 neigh del $VIP6 dev eth0; :"
back() { on n2 sh -c "ip -6 addr show dev eth0 | grep $VIP6/128 && ip -6 rule | grep $VIP6 && ip -6 route show table 7946 | grep $VIP6 && ip -6 neigh | grep $VIP6.*PERM" >/dev/null; }
wait_for "it is back" 5 back
assert_eq "$(answer n2 "[$VIP6]" 8001)" both

step "without a lease a node keeps silent, neighbours included"
cluster cut n2
wait_get n1 nodes '.[] | select(.node == "n2") | .state' dead 20
cluster capture start
on n2 sh -c "ip neigh flush all; ping -q -c 1 -W 1 -I $VIP6 fd77::250 || :; ping -q -c 1 -W 1 fd77::250 || :" >/dev/null
cluster capture stop
at=$(on n2 netctl stats -j | jq '[.[] | select(.node == "n2" and .reason == "ND_LEASE").packets] | add')
[ "${at:-0}" -gt 0 ] || fail "no neighbour discovery was stopped: $at"
cluster heal n2
wait_get n1 nodes '.[] | select(.node == "n2") | .state' up 30

step "vip del takes it away, and the IPv4 address stays"
on n3 netctl vip del $VIP6
trace() { on "$1" sh -c "{ ip -6 addr; ip -6 route show table all; ip -6 rule; ip -6 neigh; } | grep -e $VIP6 -e 'pref 100' -e '^100:'"; }
for n in n1 n2 n3; do
	wait_get $n vips '.[].addr' $VIP
	wait_for "no trace of $VIP6 on $n" 5 eval "! trace $n"
	on $n ip -6 rule | has '^0:.*lookup local'
done
on client ip neigh flush all
assert_fails 1 on client ping -q -c 1 -W 1 $VIP6
assert_eq "$(answer client $VIP 8001)" both
