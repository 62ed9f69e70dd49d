#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 900
# nodes: 1
# ssi_core on the kernel that finds its faults: mutated messages, memory that runs out, all at once, loaded and
# unloaded under traffic, and at the end a look for what was never freed. The kernel's log decides (tests/run).
# On a stock kernel the same, without what that one cannot.
CLUSTER=$TEST_TOP/tests/vm/cluster
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 1
share=$TEST_O/vm/share
cp "$TEST_O"/tests/{core_stress_test,hold_test} "$TEST_O/bin/listen-try" "$share/"
at_exit "rm -f '$share'/{core_stress_test,hold_test,listen-try}"

on n1 sh -c 'mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug'
debugfs() { on n1 test -e /sys/kernel/debug/"$1"; }
on n1 modprobe ssi_core

step "the queue by itself"
on n1 /share/hold_test

step "mutated messages, no memory, all at once"
if debugfs failslab; then
	on n1 sh -c 'cd /sys/kernel/debug; for f in failslab fail_page_alloc; do echo 0 >$f/verbose; echo N >$f/ignore-gfp-wait; done'
fi
on n1 env STRESS_SECONDS="${STRESS_SECONDS:-20}" ${STRESS_SEED:+STRESS_SEED=$STRESS_SEED} /share/core_stress_test

step "it comes and goes under traffic and under programs that listen"
on n1 netctl init
expose
for ((i = 1; i <= (${SLOW:-1} > 1 ? 2 : 5); i++)); do
	wait_get n1 status '.[0].datapath.listen' synchronous 30
	on n1 ssi-run --name "l$i" -- /share/listen-try $((7000 + i)) 3 | has ' ok '
	on n1 ping -f -c 200 -w 20 10.77.0.250 >/dev/null
	on n1 systemctl stop netd
	on n1 sh -c 'rm /sys/fs/bpf/netssi/links/dip_claim_*; ip link del ssi-hold'
	unloaded() { on n1 rmmod ssi_core 2>/dev/null; }
	wait_for "the module goes" 20 unloaded
	on n1 modprobe ssi_core
	on n1 systemctl start netd
done
