#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 600
# The shipped unit on Debian 13's kernel: nodes join over TIPC, netd is restarted by systemd, a reboot comes back.
CLUSTER=$TEST_TOP/tests/vm/cluster
BEARER=eth0
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up

step "the unit runs, idle"
for n in n1 n2 n3; do
	assert_eq "$(on $n systemctl is-active netd)" active "netd.service on $n"
	assert_fails 4 on $n netctl status 2>/dev/null
done

step "init and join over TIPC"
cluster_form
assert_eq "$(get n2 nodes '[.[].transport] | unique | join(" ")')" tipc
on n2 tipc link list

step "netd killed: systemd starts it again, the same member"
on n1 netctl set lease_ms 8000 # an emulated machine starts it slowly
incarnation=$(get n1 nodes '.[] | select(.node == "n2").incarnation')
# By what leaves a core file of others: netd has the cluster's key in memory.
assert_eq "$(on n2 systemctl show -P LimitCORE netd)" 0
on n2 sysctl -qw kernel.core_pattern=/run/core.%e
# (not before it is itself: until then it has another name)
on n2 sh -c 'ulimit -c unlimited; sleep 1000 & until grep -qx sleep /proc/$!/comm; do :; done; kill -ABRT $!; wait' || :
pid_of_netd() { on n2 systemctl show -P MainPID netd; }
before=$(pid_of_netd)
on n2 prlimit --pid "$before" --core=unlimited
on n2 systemctl kill -s ABRT netd
started_again() { local now; now=$(pid_of_netd) && [ "$now" != "$before" ] && [ "$now" != 0 ]; }
wait_for "systemd starts netd again" 20 started_again
wait_get n2 nodes '[.[] | select(.state == "up")] | length' 3 20
assert_eq "$(get n1 nodes '.[] | select(.node == "n2").incarnation')" "$incarnation"
assert_eq "$(on n2 sh -c 'echo /run/core.*')" /run/core.sleep "core files"

on n1 netctl set lease_ms 2000
step "power cut and reboot"
cluster kill n3
wait_get n1 nodes '.[] | select(.node == "n3").state' dead 15
cluster start n3
wait_get n1 nodes '.[] | select(.node == "n3").state' up 60
assert_eq "$(on n3 systemctl --failed --plain --no-legend)" "" "failed units on n3"

step "netd is stopped for good: --cleanup takes all of it out of the kernel"
kernel()
{
	on n3 sh -c 'ip rule; ip -N route show table all | sort; ip neigh show nud permanent; bridge fdb show dev eth0 | sort
		ls /sys/fs/bpf; find /sys/fs/cgroup -name "ssi-*"; nft list tables; tipc bearer list; lsmod | grep -c "^ssi_core"
		cat /proc/sys/net/ipv4/conf/eth0/accept_local; ip -o link | grep -c ssi-hold' || :
}
on n1 netctl vip add $VIP/24
on n3 ssi-run --detach --name nap sleep 1000
wait_get n3 vips '[.[0].nodes[] | .state] | unique | join(" ")' up
assert_match "$(kernel)" 'lookup 7946'
assert_fails 1 on n3 netd --cleanup 2>/dev/null
on n3 netctl signal nap KILL
wait_get n3 apps length 0
on n3 systemctl stop netd
on n3 netd --cleanup
kernel | tee /dev/stderr | grep -E '7946|netssi|ssi-|proto 77|eth:eth0' && fail "that was left"
assert_eq "$(on n3 sh -c 'lsmod | grep -c "^ssi_core" || :')" 0 "modules"
assert_eq "$(on n3 ip -o link show ssi-hold 2>/dev/null)" "" "hold device"
assert_eq "$(on n3 cat /proc/sys/net/ipv4/conf/eth0/accept_local)" 0 accept_local
