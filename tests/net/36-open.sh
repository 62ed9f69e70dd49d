#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A server that starts under clients which try all the time: they are refused until they are answered, never left
# in silence, and who gets a connection keeps it.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir

# Every port has another home, every node is the claimant once.
for round in 0 1 2 3 4 5 6 7 8; do
	port=$((7000 + round)) node=n$((round % 3 + 1))
	for client in 1 2 3 4; do
		on client count-client -w -s 900 -i 1 -n 100 $VIP $port >"$TMP/count.$client" 2>&1 &
	done
	wait_for "the clients are refused" 5 grep -q refused "$TMP/count.1"
	on $node ssi-run --detach --name "s$port" redis-server --port $port --protected-mode no --save '' >/dev/null
	wait || :
	for client in 1 2 3 4; do
		assert_match "$(tail -n 1 "$TMP/count.$client")" ' resets=0 .* silent=0' "port $port on $node"
	done
done
