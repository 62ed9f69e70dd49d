#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Source ports of a node that died are leased again, but not those of connections that had moved away before.
#
#	n3 leases 45184-45247; `out` calls from one of them, P, and moves to n1; n3 dies; n2 leases 45184-45247 without P
. "${TEST_TOP:?}/tests/net/lib.sh"
RANGE=45184-45247
cluster_up
tmpdir

leased() { get n1 ports ".[] | select(.state == \"leased\" and .node == \"$1\").ranges"; }
leases() { [[ ,$(leased "$1"), = *,$2,* ]]; }
in_use() { on "$1" ss -Htn state established src $VIP dport = :6379 | awk '{ sub(/.*:/, "", $3); print $3 }'; }
one_in_use() { [[ $(in_use "$1") =~ ^45[0-9]+$ ]]; }
port_range() { on "$1" sysctl -qw net.ipv4.ip_local_port_range="$2"; }
# The ports of RANGE that NODE's programs are not given, as numbers.
kept() { on "$1" sysctl -n net.ipv4.ip_local_reserved_ports | tr , '\n' | awk -F- '{ for (p = $1; p <= ($2 ? $2 : $1); p++) if (p >= 45184 && p <= 45247) print p }'; }
kept_is() { [ "$(kept "$1")" = "$2" ]; }
counted() { on n1 netctl logs out --lines 1 | cut -d, -f1; }
counts_beyond() { local now; now=$(counted); [[ $now =~ ^[0-9]+$ ]] && [ "$now" -gt "$1" ]; }

# Opens connections until none can be had; prints how many and why.
cat >"$NETDIR/share/fill.py" <<'EOF'
import errno, socket, sys
held = []
try:
    while True:
        held.append(socket.create_connection((sys.argv[1], int(sys.argv[2]))))
except OSError as e:
    print(len(held), errno.errorcode.get(e.errno, str(e)), *sorted(s.getsockname()[1] for s in held))
EOF

step "each node has a block of its own"
port_range n1 "45120 45183"
port_range n2 "45056 45119"
port_range n3 "${RANGE/-/ }"
cluster_form
on n1 netctl set source_block 64
on n1 netctl vip add $VIP/24
for lease in n1:45120-45183 n2:45056-45119 n3:$RANGE; do
	wait_for "${lease%:*} leases ${lease#*:}" 20 leases "${lease%:*}" "${lease#*:}"
done
wait_for "n3 uses its ports" 20 kept_is n3 ""

step "a connection of n3 moves to n1, and n3 dies"
on client redis-server --port 6379 --protected-mode no --save '' --daemonize yes >/dev/null
wait_for "the server outside answers" 5 on client redis-cli ping
on n3 ssi-run --detach --name out count-client -i 20 -t 900 10.77.0.250
wait_for "it has its connection" 20 one_in_use n3
port=$(in_use n3)
[ "$port" -ge 45184 ] && [ "$port" -le 45247 ] || fail "it calls from $port"
on n1 netctl migrate out n1
wait_get n2 "ports :$port" '[.[] | select(.state == "connection").node] | join(" ")' n1
cluster kill n3
wait_get n1 'ports --node n3' length 0 20
was=$(counted)
wait_for "it counts on" 10 counts_beyond $((was + 3))

step "n2 gets the block, all but this port"
port_range n2 "${RANGE/-/ }"
wait_for "n2 leases $RANGE" 20 leases n2 $RANGE
wait_for "n2 keeps away from $port only" 20 kept_is n2 "$port"
on n2 ssi-run --name fill python3 /share/fill.py 10.77.0.250 6379 >"$TMP/filled"
read -r n why ports <"$TMP/filled"
assert_eq "$n $why" "63 EADDRNOTAVAIL"
[[ " $ports " != *" $port "* ]] || fail "$port was given out again"
was=$(counted)
wait_for "the connection that moved counts on" 10 counts_beyond $((was + 3))

step "it ends, and its port is like the others"
on n2 netctl signal out TERM
logged() { on n1 sh -c "cat /run/netssi/log/out.log" | has '^summary .*resets=0 reconnects=0 wrong=0'; }
wait_for "it says that nothing broke" 5 logged
wait_for "n2 may use its port" 20 kept_is n2 ""
