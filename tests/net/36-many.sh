#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Thousands of listeners at once: all are claimed, survive netd, and go together; the node stays alive throughout.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
on n1 netctl set lease_ms 4000

cat >"$NETDIR/share/many.py" <<'EOF2'
import resource, signal, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
listeners = []
for port in range(20000, 23000):
    s = socket.socket(socket.AF_INET6 if port & 1 else socket.AF_INET)
    s.bind(("::" if port & 1 else "0.0.0.0", port))
    s.listen()
    listeners.append(s)
signal.pause()
EOF2
on n1 ssi-run --detach --name many python3 /share/many.py
wait_get n3 "ports --app many" length 3000 15
assert_eq "$(get n3 "ports --app many" '[.[].pid] | unique | length')" 1 "processes"
assert on client nc -z -w 20 $VIP 20000
assert on client nc -z -w 20 $VIP 22999

step "netd is killed and comes back"
cluster netd n1 kill
cluster netd n1 start
wait_get n1 nodes '[.[] | select(.state == "up")] | length' 3 20
wait_get n2 "ports --app many" length 3000 5

step "the program is killed"
on n1 pkill -KILL -f many.py
wait_get n3 ports '[.[] | select(.app == "many")] | length' 0 10
assert refused 20000
for n in n1 n2 n3; do
	grep -q 'declared dead' "$NETDIR/log/$n/netd.log" && fail "$n was busy for longer than its lease" || :
done
