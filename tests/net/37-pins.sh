#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Pinned claims: TCP, UDP and ranges, a container's published port, conflicts both ways, death and return of the node.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir

open_port() { on client nc -z -w 2 $VIP "$1"; }
serve() { on n2 sh -c 'nc -lk 0.0.0.0 2222 >/dev/null & nc -lk 0.0.0.0 2301 >/dev/null & socat UDP-RECVFROM:2222,bind=10.77.0.100,fork EXEC:cat & exec sleep 1000' & }

step "a range, TCP and UDP"
on n1 netctl port add :2222 node n2
on n1 netctl port add :2300-2302 node n2
on n1 netctl port add :2222/udp node n2
on n3 netctl port add :2300-2302 node n2 | has unchanged
assert_eq "$(get n3 ports '[.[] | select(.state == "pinned") | "\(.proto)\(.port)@\(.node)"] | sort | join(" ")')" \
	"tcp2222@n2 tcp2300@n2 tcp2301@n2 tcp2302@n2 udp2222@n2"
serve
wait_for "ssh answers" 5 open_port 2222
wait_for "one of the range answers" 5 open_port 2301
echoes() { [ "$(echo hello | on client nc -u -W 1 -w 2 $VIP 2222)" = hello ]; }
wait_for "UDP answers" 5 echoes

step "what cannot be"
assert_fails 2 on n1 netctl port add :2302-2300 node n2 2>"$TMP/err"
has "upside down" <"$TMP/err"
assert_fails 1 on n1 netctl port add :1000-2000 node n2 2>"$TMP/err"
has "at most" <"$TMP/err"
assert_fails 2 on n1 netctl port add :0-5 node n2
assert_fails 2 on n1 netctl ports :1-5
on n1 ssi-run --detach --name web nc -lk 0.0.0.0 2400
wait_get n3 "ports :2400" '.[0].app' web
assert_fails 1 on n1 netctl port add :2399-2401 node n2 2>"$TMP/err"
has "belongs to web on node n1" <"$TMP/err"
assert_eq "$(get n1 ports '[.[] | select(.port == 2399 or .port == 2401)] | length')" 0 "half a range"
assert_fails 1 on n1 netctl port add :2301 node n3
rc=0
on n3 ssi-run --name thief nc -l 0.0.0.0 2300 2>"$TMP/err" || rc=$?
assert_eq $rc 1
has -i 'in use' <"$TMP/err"

step "a container's published port: the host sends it on"
on n2 sh -c 'ip link add pod0 type veth peer name pod1 && ip addr add 172.20.0.1/24 dev pod0 && ip link set pod0 up'
on n2 sh -c 'unshare -n sh -c "ip link set lo up; while ! ip link set pod1 up 2>/dev/null; do sleep 0.05; done; ip addr add 172.20.0.2/24 dev pod1; ip route add default via 172.20.0.1; exec nc -lk 0.0.0.0 80 >/dev/null" & echo $! >/tmp/pod; 
	until [ "$(readlink /proc/$(cat /tmp/pod)/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
	ip link set pod1 netns $(cat /tmp/pod)'
on n2 sysctl -qw net.ipv4.ip_forward=1
if on n2 nft -f - <<<'table ip pub { chain pre { type nat hook prerouting priority -100; fib daddr type local tcp dport 8080 dnat to 172.20.0.2:80; }; }'; then
	on n1 netctl port add :8080 node n2
	wait_for "the container answers" 10 open_port 8080
	on n2 nft delete table ip pub
fi

step "the node dies: refused, kept, and there again when it is back"
cluster kill n2
wait_get n1 "ports :2222/tcp" '.[0] | "\(.node) \(.state)"' "n2 down"
refused() { (on client timeout 2 nc -v -z -w 2 $VIP 2222 2>&1 || :) | has refused; }
wait_for "clients are refused" 5 refused
# Who refuses is the port's home, and the owner is named.
assert_eq "$(get n3 "explain 10.77.0.250 $VIP:2222" '.[0] | "\(.reason) \(.owner) \(.state)"')" "HOME n2 down"
on n3 netctl explain 10.77.0.250 $VIP:2222 | has 'owner n2, pinned, and the node is dead; start it, or `netctl port del`'
cluster start n2
wait_get n1 "ports :2222/tcp" '.[0] | "\(.node) \(.state)"' "n2 pinned" 30
has_vip() { on n2 ip route show table local | has "^local $VIP "; }
wait_for "n2 has the address" 20 has_vip
serve
wait_for "ssh answers again" 10 open_port 2222
wait_for "UDP, too" 10 echoes

step "taken back, and gone with a node that leaves"
on n1 netctl port del :2300-2302
wait_get n3 ports '[.[] | select(.port >= 2300 and .port <= 2302)] | length' 0
on n1 netctl port add :2500 node n3
on n3 netctl leave
wait_get n1 "ports :2500" length 0
