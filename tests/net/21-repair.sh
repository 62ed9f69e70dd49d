#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Others delete what a cluster address needs, and it comes back; what is not netssi's stays.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 2
cluster_vip 2
tmpdir
mac=$(get n1 vips '.[0].mac')

rule_there() { on n1 ip rule | has "to $VIP iif lo"; }
local_there() { on n1 ip route show table local | has "^local $VIP "; }
neigh_there() { on n1 ip neigh show nud permanent | has "^$VIP dev eth0 lladdr $mac"; }
filter_there() { on n1 bridge fdb show dev eth0 | has -i "^$mac .*self"; }
up_on_n1() { same_value n1 vips '.[0].nodes[] | select(.node == "n1").state' up; }
all_there() { rule_there && local_there && neigh_there && filter_there; }

step "everything stands"
wait_for "all of it" 5 all_there
on n1 ip route add 192.0.2.0/24 dev eth0

step "the rules vanish"
on n1 ip rule del pref 50
wait_for "the rule is back" 2 rule_there

step "within a tenth of a second, and the log says so"
# How long the rule is away, in ms: the best of ten, for the machine may be busy.
away()
{
	on n1 bash -c 't() { local n=$EPOCHREALTIME; echo $((${n//[!0-9]/} / 1000)); }
		for i in 1 2 3 4 5 6 7 8 9 10; do
			ip rule del pref 50
			begin=$(t)
			until [[ $(ip rule) == *"to '$VIP' iif lo"* ]]; do :; done
			echo $(($(t) - begin))
		done | sort -n | head -n 1'
}
redis n2 >/dev/null
wait_get n1 "ports :6379" '.[0].node' n2
on n1 count-client -i 2 $VIP >"$TMP/inside" 2>&1 &
inside=$!
wait_for "a program counts" 5 grep -q '^[0-9]' "$TMP/inside"
ms=$(away)
on n1 pkill -TERM -x count-client
wait $inside || fail "the connection of a program here broke: $(tail -n 2 "$TMP/inside")"
echo "the rule was back after $ms ms"
[ "$ms" -le 100 ] || fail "the rule was back only after $ms ms"
has 'were taken away; putting them back' <"$NETDIR/log/n1/netd.log"

step "the routes vanish"
on n1 ip route flush table local proto 77
on n1 ip route flush table 7946
wait_for "the local route is back" 2 local_there
on n1 ip route flush table 7947
on n1 ip route flush table 7948
on n1 ip rule del pref 49
sources_there() { on n1 ip rule | has '^49:.*fwmark' && on n1 ip route show table 7947 | has "^$VIP .* src $VIP" && on n1 ip route show table 7948 | has "^10.77.0.0/24 .* src $VIP"; }
wait_for "the routes for source ports are back" 5 sources_there
wait_for "n1 reaches the address" 2 on n1 ping -q -c 1 -W 1 $VIP

step "the neighbour entry and the address filter vanish"
on n1 ip neigh flush dev eth0 nud permanent
wait_for "the neighbour is back" 2 neigh_there
on n1 bridge fdb del "$mac" dev eth0 self
wait_for "the filter is back" 2 filter_there

step "the hold device vanishes"
hold_there() { on n1 sh -c 'bpftool net show dev ssi-hold 2>/dev/null | grep -q dip_tc_tap && ip link show ssi-hold up | grep -q ssi-hold'; }
assert hold_there
on n1 ip link del ssi-hold
wait_for "the hold device is back, with its program" 3 hold_there
on n1 ip link set ssi-hold down
wait_for "the hold device is up again" 3 hold_there

step "the control group of applications is removed while it is empty"
on n1 rmdir /sys/fs/cgroup/ssi.slice
wait_for "it is there again" 5 on n1 test -d /sys/fs/cgroup/ssi.slice
hooks_there() { on n1 bpftool cgroup list /sys/fs/cgroup/ssi.slice | has dip_sockops; }
wait_for "its hooks are back" 5 hooks_there
on n1 ssi-run --detach --name web nc -lk 0.0.0.0 7001
wait_get n2 "ports :7001" '.[0].node' n1

step "the interface goes down and comes back, with another MAC"
on n1 sh -c 'ip link set eth0 down; ip link set eth0 address 52:54:00:77:01:01; ip link set eth0 up'
wait_for "the address is exposed again" 20 up_on_n1
wait_for "everything is back" 5 all_there
wait_get n2 vips '.[0].nodes[] | select(.node == "n1").mac' 52:54:00:77:01:01 10
on client ping -q -c 2 -i 0.2 -W 2 $VIP

step "the interface gets another name"
on n1 sh -c 'ip link set eth0 down; ip link set eth0 name lan0; ip link set lan0 up'
wait_get n2 vips '.[0].nodes[] | select(.node == "n1") | "\(.dev) \(.state)"' "lan0 up" 20
on n1 sh -c 'bpftool net show dev lan0 | grep -q dip_tc_in'
on client ping -q -c 2 -i 0.2 -W 2 $VIP
on n1 sh -c 'ip link set lan0 down; ip link set lan0 name eth0; ip link set eth0 up'
wait_for "the address is exposed again" 20 up_on_n1

step "the rule that the kernel had first comes back at the end, foreign routes stay"
on n1 ip route add 192.0.2.0/24 dev eth0 2>/dev/null || :
on n1 netctl vip del $VIP
wait_for "the rule of table local is first again" 5 on n1 sh -c "ip rule | grep -q '^0:.*lookup local'"
on n1 sh -c "ip rule | grep -q 'proto 77'" && fail "a rule is left" || :
on n1 ip route | has 192.0.2.0/24
assert_eq "$(on n1 sysctl -n net.ipv4.conf.eth0.accept_local)" 0 "accept_local"
assert_eq "$(on n1 sh -c 'ls /sys/fs/bpf/netssi 2>/dev/null | wc -l')" 0 "pins"
