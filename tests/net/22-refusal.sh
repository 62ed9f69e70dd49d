#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A node that cannot expose an address says why before anything is done: maps, BTF, privileges, interfaces.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 2
tmpdir

# A fresh netd on n2 has not loaded its programs: with a cause against it, vip add fails.
refused()
{
	local regex=$1 rc=0
	on n1 netctl vip add $VIP/24 >"$TMP/out" 2>"$TMP/err" || rc=$?
	assert_eq $rc 1 "exit status"
	assert_eq "$(error_lines "$TMP/err")" 1 "lines of error"
	cat "$TMP/err"
	assert_match "$(cat "$TMP/err")" "$regex"
	assert_eq "$(get n1 vips length)" 0 "addresses"
	for n in n1 n2; do
		on $n sh -c 'ip rule | grep -q "proto 77" || ip route show table all | grep -q "proto 77"' && fail "a trace on $n" || :
	done
}

step "a kernel without BTF"
on n2 sh -c ': >/run/empty; mount --bind /run/empty /sys/kernel/btf/vmlinux'
cluster_form 2
refused 'n2.*BTF'
on n2 umount /sys/kernel/btf/vmlinux

step "maps cannot be pinned: something else has their place"
cluster netd n2 stop
on n2 sh -c 'rm -rf /sys/fs/bpf/netssi; mkdir -p /sys/fs/bpf/netssi/dip_conf'
cluster netd n2 start
wait_get n2 nodes '[.[] | select(.state == "up")] | length' 2 20
refused 'n2.*/sys/fs/bpf/netssi'
on n2 rmdir /sys/fs/bpf/netssi/dip_conf

step "no interface on that network, on one node only"
on n2 ip addr del 10.77.0.2/24 dev eth0
on n2 ip addr add 10.77.0.2/32 dev eth0
on n2 ip route add 10.77.0.0/24 dev eth0
refused 'n2.*10.77.0.100'
on n2 ip addr add 10.77.0.2/24 dev eth0

step "an interface that cannot hear a shared unicast MAC"
for n in n1 n2; do
	on $n ip link add mv0 link eth0 type macvlan mode bridge
	on $n ip link set mv0 up
	on $n ip addr add 10.99.0.1${n#n}/24 dev mv0
done
rc=0
on n1 netctl vip add 10.99.0.100/24 2>"$TMP/err" || rc=$?
assert_eq $rc 1 "exit status"
assert_match "$(cat "$TMP/err")" 'mv0.*--mac'
on n1 netctl vip add 10.99.0.100/24 --mac 03:00:5e:00:00:65
wait_get n2 vips '.[0].state' up
on n1 netctl vip del 10.99.0.100
for n in n1 n2; do
	on $n ip link del mv0
done

step "and then it works"
on n1 netctl vip add $VIP/24
wait_get n2 vips '.[0].state' up
on client ping -q -c 2 -i 0.2 -W 2 $VIP

step "pinned tables of another type: fresh ones take their place"
serves() { on client nc -z -w 2 $VIP "$1"; }
# other MAP TYPE KEY VALUE: netd starts on n2 and finds that
other()
{
	cluster netd n2 stop
	on n2 sh -c "rm /sys/fs/bpf/netssi/$1; bpftool map create /sys/fs/bpf/netssi/$1 type $2 key $3 value $4 entries 1 name other"
	cluster netd n2 start
}
other dip_conf hash 4 8
wait_get n2 vips '.[0].nodes[] | select(.node == "n2").state' up 20
on n2 ssi-run --detach --name two nc -lk 0.0.0.0 7002
wait_for "the node serves" 10 serves 7002

step "... of another size, behind a dip_conf that fits: refused, and what runs goes on"
on n1 netctl set lease_ms 60000 # what runs without netd does so for as long
wait_get n2 nodes '.[] | select(.node == "n2").lease_left_ms > 20000' true 20
other dip_ports array 4 8
wait_get n2 status '[.[0].problems[].problem | select(test("dip_ports is a map of another type or size"))] | length > 0' true 20
serves 7002 || fail "the programs of before decide no more"
cluster netd n2 stop
on n2 rm -r /sys/fs/bpf/netssi
cluster netd n2 start
wait_get n2 vips '.[0].nodes[] | select(.node == "n2").state' up 20
wait_for "the node serves again" 10 serves 7002
