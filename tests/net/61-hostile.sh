#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Who does not play along keeps nobody from working: strangers that hold connections, a supervisor that is stopped.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_form 2
on n1 netctl vip add $VIP/24
tmpdir

# Opens connections and says nothing, or half of something, until it is killed.
cat >"$NETDIR/share/strangers.py" <<'EOF2'
import socket, sys
held = []
while True:
    s = socket.socket()
    s.settimeout(5)
    try:
        s.connect((sys.argv[1], 7946))
        if len(held) % 2:
            s.send(bytes.fromhex("1603010200010001fc0303"))
    except OSError:
        pass
    held.append(s)
    if len(held) == 300:
        print("held", flush=True)
    if len(held) > 600:
        held.pop(0).close()
EOF2

step "strangers hold connections: a node joins, an application moves"
for n in 1 2; do
	on client timeout 600 python3 /share/strangers.py 10.77.0.$n >"$TMP/held.$n" &
done
for n in 1 2; do
	wait_for "300 connections to n$n" 20 grep -q held "$TMP/held.$n"
done
on n1 netctl token | on n3 netctl join 10.77.0.1 --token-file -
wait_get n1 nodes '[.[] | select(.state == "up")] | length' 3 20
wait_get n2 vips '.[0].nodes[] | select(.node == "n2") | .state' up
on n1 ssi-run --detach --name walker sleep 1000
on n3 netctl migrate walker n2
on n3 netctl migrate walker n1
on client pkill -x python3
wait

step "a supervisor is stopped: its node goes on"
cat >"$NETDIR/share/ask.py" <<'EOF2'
import socket
for i in range(1000):
    s = socket.socket(socket.AF_UNIX)
    s.connect("/run/netssi/netd.sock")
    try: # it is told to come again, and hung up on, when there are too many
        s.sendall(b'{"cmd":"logs","args":{"app":"walker"}}\n')
    except OSError:
        pass
    s.close()
EOF2
life=$(get n1 nodes '.[] | select(.node == "n1") | .incarnation')
on n1 pkill -STOP -x ssi-run
on n1 timeout 300 python3 /share/ask.py
assert on n1 timeout 20 netctl status
assert_eq "$(get n2 nodes '.[] | select(.node == "n1") | "\(.state) \(.incarnation)"')" "up $life"
on n1 pkill -CONT -x ssi-run
on n3 netctl migrate walker n2
wait_get n1 apps '.[0].node' n2

step "a supervisor is killed in the middle of a move, at any moment: its name is free again"
gone() { same_value n3 apps length 0 && same_value n3 moves length 0; }
on n2 netctl signal walker KILL
wait_for "no application" 10 gone
for ms in 1 2 3 5 8 13 20 30 50 80 130; do
	on n1 ssi-run --detach --name walker sleep 1000
	on n3 netctl migrate walker n2 >"$TMP/move" 2>&1 &
	on n1 sh -c "sleep $(printf '0.%03d' $ms); pkill -KILL -x ssi-run" || :
	wait
	on n2 pkill -KILL -x ssi-run || : # it was there already
	wait_for "no application after $ms ms: $(tail -n 1 "$TMP/move")" 10 gone
done
for node in n1 n2; do
	wait_for "nothing left on $node" 10 on $node sh -c '[ -z "$(ls -A /run/netssi/apps /run/netssi/images | grep -v :)" ]'
done
