#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 600
# The hold queue of the kernel module: alone, under netd in a move, and while it comes and goes.
CLUSTER=$TEST_TOP/tests/vm/cluster
BEARER=eth0
. "${TEST_TOP:?}/tests/net/lib.sh"
TMP=$(mktemp -d)
at_exit "tail -n 2 '$TMP'/*; rm -rf '$TMP'"
cluster_up
last=n${NODES:-3}

step "the queue by itself"
on client modprobe ssi_core
share=$TEST_O/vm/share
cp "$TEST_O/tests/hold_test" "$TEST_O/bin/count-client" "$share/"
at_exit "rm -f '$share/hold_test' '$share/count-client'"
on client /share/hold_test

step "a queue keeps the module, a namespace does not keep a queue"
on client ip link add q type ssi_hold
assert_fails 1 on client rmmod ssi_core
on client ip link del q
on client ip netns add ended
on client ip -n ended link add q type ssi_hold
assert_fails 1 on client rmmod ssi_core
on client ip netns del ended
unloaded() { on "$1" rmmod ssi_core 2>/dev/null; }
wait_for "the module goes" 10 unloaded client

step "netd uses it"
cluster_vip
for ((i = 1; i <= ${NODES:-3}; i++)); do
	node=n$i
	wait_get $node status '.[0].datapath.hold' ssi_core 20
	wait_get $node status '.[0].datapath.listen' synchronous 20
done
assert_fails 1 on n2 rmmod ssi_core

step "a move under a client that never stops"
redis n1
on client /share/count-client -w -i 20 -c 5 $VIP >"$TMP/count" 2>"$TMP/err" </dev/null &
counter=$!
rows() { grep -c '^[0-9]' "$TMP/count" || :; }
rows_past() { [ "$(rows)" -gt "$1" ]; }
wait_for "the client counts" 60 rows_past 0
moved=$(on n1 netctl migrate redis-server "$last" -j | jq '.[0]')
wait_for "the client counts on" 20 rows_past $(($(rows) + 10))
on client pkill -TERM -x count-client
wait $counter || fail "connections broke: $(cat "$TMP/err") $(tail -n 1 "$TMP/count")"
held=$(jq .held_packets <<<"$moved")
[ "$held" -gt 0 ] || fail "nothing was held: $moved"
echo "held $held packets for $(jq .frozen_ms <<<"$moved") ms"

step "without the module netd holds by itself, and goes back to it"
on n1 systemctl stop netd
assert_fails 1 on n1 rmmod ssi_core
on n1 sh -c 'rm /sys/fs/bpf/netssi/links/dip_claim_*; ip link del ssi-hold 2>/dev/null'
wait_for "the module goes" 10 unloaded n1
on n1 sh -c 'mkdir -p /etc/modprobe.d; echo "install ssi_core /bin/false" >/etc/modprobe.d/none.conf'
on n1 systemctl start netd
wait_get n1 status '.[0].datapath.hold' tap 20
on n1 rm /etc/modprobe.d/none.conf
on n1 systemctl restart netd
wait_get n1 status '.[0].datapath.hold' ssi_core 20
on n1 netctl migrate redis-server n1
assert_eq "$(cli PING)" PONG
