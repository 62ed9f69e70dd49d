#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 600
# nodes: 1
# The machine runs a module of another release, as after an upgrade of netd: netd goes without it and says so, and
# the right one takes its place while a client counts. And kernels that would not run it at all: netctl check knows.
CLUSTER=$TEST_TOP/tests/vm/cluster
. "${TEST_TOP:?}/tests/net/lib.sh"
tmpdir
share=$TEST_O/vm/share

step "a module whose protocol has another number"
cp -r "$TEST_TOP/kmod" "$TEST_TOP/include" "$TMP"
sed -i -E 's/(#define SSI_CORE_VERSION) ([0-9]+)/\1 9\2/' "$TMP/include/uapi/ssi/core.h"
grep -q 'SSI_CORE_VERSION 9' "$TMP/include/uapi/ssi/core.h"
for kdir in /lib/modules/*/build; do :; done
env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u O -u V -u W make -s -C "$kdir" M="$TMP/kmod" SSI_TOP="$TMP" modules
cluster_up 1
cp "$TMP/kmod/ssi_core.ko" "$TEST_O"/bin/{listen-try,count-client} "$share/"
at_exit "rm -f '$share'/{ssi_core.ko,listen-try,count-client}"

mode_is() { wait_get n1 status '.[0].datapath.hold' "$1" 20; wait_get n1 status '.[0].datapath.listen' "$2" 20; }
check_of() { on n1 sh -c 'netctl check -j || :' | jq -r ".[] | select(.what == \"$1\") | .$2"; }
check_says() { check_of ssi_core ok; }
try_listen() { on n1 ssi-run --name "l$1" -- /share/listen-try "$1" 1 | has ' ok '; }
unload() { on n1 rmmod ssi_core; }

# shellcheck disable=SC2016
put() { on n1 sh -c 'cp /share/ssi_core.ko /lib/modules/$(uname -r)/updates'; }

step "the right one"
cluster_vip 1
mode_is ssi_core synchronous
assert_eq "$(check_says)" ok
redis n1
wait_for "redis answers" 20 answers
on client /share/count-client -i 20 $VIP >"$TMP/count" 2>"$TMP/count.err" </dev/null &
COUNTER=$!
wait_for "the client counts" 20 counting

step "the other one, in use: a netd before this has left its queue"
on n1 systemctl stop netd
on n1 sh -c 'rm /sys/fs/bpf/netssi/links/dip_claim_*; ip link del ssi-hold'
wait_for "the module goes" 20 unload
on n1 insmod /share/ssi_core.ko
on n1 ip link add ssi-hold type ssi_hold
assert_fails 1 unload
on n1 systemctl start netd
mode_is tap asynchronous
assert_eq "$(check_says)" warn
on n1 netctl check | has 'of another release'
on n1 journalctl -u netd | has 'of another release, holding in netd'
try_listen 7001

step "the right one takes its place"
wait_for "nobody uses the other one" 20 unload
on n1 systemctl restart netd
mode_is ssi_core synchronous
assert_eq "$(check_says)" ok
try_listen 7002
assert_eq "$(cli PING)" PONG
count_end

step "a module without types: its queue works, nobody waits in listen()"
objcopy --remove-section=.BTF "$TEST_O/kmod/ssi_core.ko" "$share/ssi_core.ko"
on n1 systemctl stop netd
on n1 sh -c 'rm /sys/fs/bpf/netssi/links/dip_claim_*; ip link del ssi-hold'
wait_for "the module goes" 20 unload
put
assert_match "$(check_of ssi_core text)" 'has no types'
on n1 systemctl start netd
mode_is ssi_core asynchronous
assert_match "$(check_of ssi_core text)" 'has no types'
assert_match "$(check_of listen text)" 'does not wait'

# boot OPTION...: n1 anew, with these for its kernel
boot()
{
	cluster kill n1
	cluster start n1 "$@"
	wait_get n1 status '.[0].datapath.vips' 1 30
}

step "a kernel that takes signed modules only, as with Secure Boot"
boot lockdown=integrity
assert_match "$(check_of ssi_core text)" 'takes signed modules only .*, and this one is not signed'
assert_match "$(check_of ssi_core remedy)" 'sign it'
assert_fails 1 on n1 modprobe ssi_core
mode_is tap asynchronous
# In its place one that the distribution has signed; and as if somebody else had.
xz -dc /lib/modules/*/kernel/drivers/net/dummy.ko.xz >"$share/ssi_core.ko"
put
assert_eq "$(check_says)" ok "a module that is signed"
sed -i 's/Build time/Other time/g' "$share/ssi_core.ko"
put
assert_match "$(check_of ssi_core text)" 'does not know the key of "Other'

step "a kernel that runs no BPF LSM programs, though others"
boot lsm=landlock
assert_eq "$(check_says)" ok
assert_match "$(check_of listen remedy)" 'lsm=...,bpf'
mode_is ssi_core asynchronous
