#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 900
# The demo's steps, each checked, on the guests that are up; then two nodes in listen() at the same moment.
CLUSTER=$TEST_TOP/tests/vm/cluster
. "${TEST_TOP:?}/tests/net/lib.sh"
tmpdir
cluster_up
export CLUSTER
REUSE=1 "$TEST_TOP/tests/vm/demo"

# n1 has lost its power. The calls themselves answer: nobody's socket is taken away afterwards (listen.sh has more).
step "n2 and n3 listen on one port at the same moment: one gets it, the other EADDRINUSE"
cp "$TEST_O/bin/listen-try" "$TEST_O/vm/share/"
at_exit 'rm -f "$TEST_O/vm/share/listen-try"'
for node in n2 n3; do
	wait_get $node status '.[0].datapath.listen' synchronous
done
at=$(($(now_ms) + 4000))
for node in n2 n3; do
	on $node ssi-run --name try-$node -- /share/listen-try -t $at -l 600 7000 >"$TMP/$node" 2>&1 </dev/null &
done
tried() { [ "$(cat "$TMP"/n[23] | grep -c '^7000 ')" = 2 ]; }
wait_for "both have tried" 20 tried
for node in n2 n3; do
	on $node pkill -TERM -x listen-try
done
wait
cat "$TMP"/n[23]
assert_eq "$(cat "$TMP"/n[23] | cut -d' ' -f1,2 | sort | paste -sd,)" "7000 EADDRINUSE,7000 ok,lost 0,lost 0"
