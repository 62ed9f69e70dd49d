#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 300
# nodes: 1
# Would a fault of the module be noticed? One of each kind is planted into a copy of its sources, and the kernel that
# finds faults has to say so, in a way that fails the test that ran.
CLUSTER=$TEST_TOP/tests/vm/cluster
. "${TEST_TOP:?}/tests/net/lib.sh"
[ -n "${KERNEL_DIR-}" ] || skip "the debug kernel: make check-debug"
tmpdir
share=$TEST_O/vm/share
at_exit "rm -rf '$share/planted' '$share/hold_test'"

# plant NAME FILE PERL: the module with a line of FILE changed
plant()
{
	local work=$TMP/$1
	mkdir -p "$work"
	cp -r "$TEST_TOP/kmod" "$TEST_TOP/include" "$work"
	perl -0pi -e "$3" "$work/kmod/ssi-core/$2"
	! cmp -s "$TEST_TOP/kmod/ssi-core/$2" "$work/kmod/ssi-core/$2" || fail "$1: there is no such line in $2 any more"
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u O -u V -u W make -s -C "$KERNEL_DIR/build" M="$work/kmod" SSI_TOP="$work" modules
	cp "$work/kmod/ssi_core.ko" "$share/planted/$1.ko"
}

# noticed NAME REPORT check|leaks: a test of the queue with that module; that verb of the cluster says so
noticed()
{
	on n1 insmod "/share/planted/$1.ko"
	on n1 /share/hold_test --gtest_filter='*KeepsPortsApart' >"$TMP/$1.log" 2>&1 || :
	cluster "$3" >"$TMP/$1.said" && fail "$1: nothing is noticed"
	has -E "$2" "$TMP/$1.said" || { cat "$TMP/$1.said"; fail "$1: something else is noticed"; }
	echo "$1: $(grep -m 1 -oE "$2.*" "$TMP/$1.said")"
	on n1 rmmod ssi_core
}

step "modules with a fault each"
mkdir -p "$share/planted"
cp "$TEST_O/tests/hold_test" "$share/"
plant order hold.c 's/(int hold_begin.*?mutex_lock\(&d->control\);)/$1\n\trtnl_lock();\n\trtnl_unlock();/s'
plant unlocked hold.c 's/(int hold_get\(.*?)\tspin_lock_bh\(&d->lock\);(.*?)\tspin_unlock_bh\(&d->lock\);/$1$2/s'
plant atomic hold.c 's/(int hold_begin.*?)(spin_lock_bh\(&d->lock\);)/$1$2\n\tkfree(port_alloc(key));/s'
plant leak netlink.c 's/(static int cmd_port.*?)\tnlmsg_free\(msg\);/$1/s'
plant freed hold.c 's/(static void port_remove.*?kfree\(p\);)/$1\n\tif (READ_ONCE(p->state) == SSI_HOLD_PASSING)\n\t\td->nports = 0;/s'
cluster_up 1
on n1 systemctl stop netd
on n1 sh -c '! [ -e /sys/module/ssi_core ] || rmmod ssi_core'

# A report ends lockdep until the next boot, that of memory all but itself.
noticed unlocked 'WARNING: .*\[ssi_core\]' check
noticed order 'possible circular locking dependency' check
noticed atomic 'BUG: sleeping function called from invalid context' check
noticed leak '\[ssi_core\]' leaks
noticed freed 'KASAN: slab-use-after-free' check
