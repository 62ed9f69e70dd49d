#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Connections that an application opened itself move with it: to a server outside, and to other applications.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir

source_ports() { get "$1" ports "[.[] | select(.state == \"leased\")] | length"; }
have_source_ports() { [ "$(source_ports n1)" = 3 ]; }
wait_for "all have source ports" 10 have_source_ports
uses_them() { [ -n "$(on "$1" sysctl -n net.ipv4.ip_local_reserved_ports)" ]; }
for n in n1 n2 n3; do
	wait_for "$n uses them" 10 uses_them $n
done

counted() { on "$1" netctl logs "$2" --lines 1 | cut -d, -f1; }
# APP goes on counting on NODE.
counts_on()
{
	local was
	was=$(counted "$2" "$1")
	wait_for "$1 goes on on $2" 10 counts_beyond "$1" "$2" "$was"
}
counts_beyond() { local now; now=$(counted "$2" "$1"); [[ $now =~ ^[0-9]+$ ]] && [ "$now" -gt $(($3 + 3)) ]; }
moved_connections() { get n2 "ports --app $1" '[.[] | select(.state == "connection")] | length'; }
calls_from() { [ "$(on client ss -Htn state established sport = :6379 | grep -c "$VIP:")" = 1 ]; }

step "a client of a server outside the cluster, there and back"
on client redis-server --port 6379 --protected-mode no --save '' --daemonize yes >/dev/null
wait_for "the server outside answers" 5 on client redis-cli ping
on n1 ssi-run --detach --name out count-client -i 5 -t 600 10.77.0.250
wait_for "it counts" 5 counts_beyond out n1 0
wait_for "from the cluster's address" 5 calls_from
for node in n3 n2 n1; do
	on n2 netctl migrate out $node
	counts_on out $node
done
assert_eq "$(moved_connections out)" 1 "claims of connections"
assert_eq "$(on client redis-cli info stats | tr -d '\r' | sed -n 's/^total_connections_received://p')" 3 "connections to the server (two of redis-cli)"

on n1 netctl ports --app out
on n2 netctl signal out TERM
logged() { on n1 sh -c "cat /run/netssi/log/out.log" | has '^summary .*resets=0 reconnects=0 wrong=0'; }
wait_for "it says that nothing broke" 5 logged

step "a replica and its master, both of them applications"
redis n2
wait_get n1 "ports :6379" '.[0].node' n2
on n1 ssi-run --detach --name replica redis-server --port 6390 --protected-mode no --save '' --repl-timeout 3600 \
	--replicaof $VIP 6379
linked() { on client redis-cli -h $VIP -p 6390 info replication | has master_link_status:up; }
wait_for "the replica is linked" 20 linked
received() { on client redis-cli -h $VIP info stats | tr -d '\r' | sed -n 's/^sync_full://p'; }
assert_eq "$(received)" 1
copied() { [ "$(on client redis-cli -h $VIP -p 6390 get "$1")" = "$2" ]; }
for node in n3 n2; do
	on n1 netctl migrate replica $node
	on client redis-cli -h $VIP set at $node >/dev/null
	wait_for "the replica follows on $node" 10 copied at $node
done
on n1 netctl migrate redis-server n3
on client redis-cli -h $VIP set at master-on-n3 >/dev/null
wait_for "the replica follows the master that moved" 10 copied at master-on-n3
assert_eq "$(on client redis-cli -h $VIP info stats | tr -d '\r' | sed -n 's/^sync_full://p;s/^sync_partial_ok://p' | paste -sd' ')" "1 0" "synchronisations"

step "the claim of a connection goes with it"
assert_eq "$(moved_connections replica)" 1
on n1 netctl signal redis-server KILL
wait_get n2 "ports --app replica" '[.[] | select(.state == "connection")] | length' 0 20
