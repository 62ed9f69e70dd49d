#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 900
# The demo's steps, each checked, on the guests that are up.
CLUSTER=$TEST_TOP/tests/vm/cluster
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
export CLUSTER
REUSE=1 "$TEST_TOP/tests/vm/demo"
