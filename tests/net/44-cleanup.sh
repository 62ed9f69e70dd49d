#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What netd set in the kernel can be taken out without netd: nothing is left of it, and nothing else is touched.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up

# All that netd can have set, in words.
kernel()
{
	on "$1" sh -c 'ip rule; ip -6 rule; ip addr show dev eth0 | grep inet; ip -N -6 route show table all; ip -N route show table all | sort; ip neigh show nud permanent; bridge fdb show dev eth0 | sort
		ip -o link | sed "s/^[0-9]*: //" | sort; tc filter show dev eth0 ingress; tc filter show dev eth0 egress
		ls /sys/fs/bpf; nft list tables; find /sys/fs/cgroup -name "ssi*"; ls /run/netssi/undo 2>/dev/null
		cat /proc/sys/net/ipv4/conf/eth0/accept_local' | sed 's/ qdisc .*//'
}

on n2 nft add table inet other
on n2 ip neigh add 10.77.0.77 lladdr 02:00:00:00:00:77 dev eth0
before=$(kernel n2)
cluster_vip
on n1 netctl vip add fd77::100/64
redis n2
wait_for "an answer" 5 answers
kernel n2 | has fd77::100
kernel n2 | has ssi-redis-server || fail "nothing to clean up?"

step "while netd runs it is refused"
assert_fails 1 on n2 netd --cleanup 2>"$TEST_O/net/err"
assert_match "$(cat "$TEST_O/net/err")" 'netd runs on this machine; .*systemctl stop netd'
answers || fail "the refusal touched something"

step "an application that runs keeps its control group, and is named"
cluster netd n2 kill
assert_fails 1 on n2 netd --cleanup 2>"$TEST_O/net/err"
assert_match "$(cat "$TEST_O/net/err")" 'ssi-redis-server.scope is still in use'
on n2 pkill -KILL -x ssi-run

step "then nothing is left"
gone() { ! on n2 pgrep -x redis-server >/dev/null; }
wait_for "the server is gone" 5 gone
on n2 netd --cleanup
on n2 netd --cleanup | has 'nothing of netssi is left'
assert_eq "$(kernel n2)" "$before" "what is in the kernel"
rm -f "$TEST_O/net/err"

step "the control group of a supervisor that was killed goes, too"
on n1 ssi-run --detach --name other sleep 1000
on n1 pkill -KILL -x ssi-run
no_scope() { [ -z "$(on n1 find /sys/fs/cgroup -name 'ssi-other*')" ]; }
wait_for "its control group is gone" 5 no_scope
