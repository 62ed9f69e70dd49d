#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 600
# nodes: 1
# TCP connections that the kernel module moves: each by itself, from process to process in one guest.
CLUSTER=$TEST_TOP/tests/vm/cluster
. "${TEST_TOP:?}/tests/net/lib.sh"
tmpdir
share=$TEST_O/vm/share
cluster_up 1
cp "$TEST_O/tests/conn_test" "$share/"
at_exit "rm -f '$share/conn_test'"

step "connections from process to process"
on client modprobe ssi_core
on client /share/conn_test ${CONN_FILTER:+--gtest_filter="$CONN_FILTER"}
