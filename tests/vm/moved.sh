#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 2400
# TCP connections that move through the kernel module: the tests of moves that tests/net has for CRIU's way, what
# happens when the module refuses or goes away, and where only one node has it.
CLUSTER=$TEST_TOP/tests/vm/cluster
. "${TEST_TOP:?}/tests/net/lib.sh"
NETDIR=$TEST_O/vm
share=$NETDIR/share
cp "$TEST_O/bin/count-client" "$share/"
at_exit "rm -f '$share'/{count-client,file,sent,read-*,probe,server}"
on client ln -sf /share/count-client /usr/local/bin/
tmpdir

for test in ${MOVED:-50-move 59-options 59-closed}; do
	step "$test"
	FULL='' CLUSTER=$CLUSTER NETDIR=$NETDIR "$TEST_TOP/tests/net/$test.sh" | tee "$TMP/out"
	has ssi_core <"$TMP/out" || fail "$test: nothing went by ssi_core"
	! has -i 'by criu\|_by": *"criu' <"$TMP/out" || fail "$test: something went by CRIU"
done
