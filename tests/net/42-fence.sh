#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A node that is cut off falls silent by itself; when it returns, nothing of its former life speaks for the address.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir

dead() { same_value n1 nodes '.[] | select(.node == "n2").state' dead; }
vip_sockets() { on n2 ss -Htan "src $VIP" | wc -l; }
silent() { on n2 netctl explain 10.77.0.250 $VIP:6379 2>/dev/null | has LEASE_EXPIRED; }

redis n2
wait_for "an answer" 5 answers
count_begin -w -i 10
assert [ "$(vip_sockets)" -gt 0 ]

step "n2 is cut off from the other nodes only: the client still reaches it, it must not answer"
for n in n1 n3; do
	cluster cut n2 $n
done
wait_for "n2 holds no lease" 10 silent
wait_for "n2 is declared dead" 10 dead
wait_for "its claim is gone" 5 no_owner n1
assert refused 6379

step "the name and the port go to n3"
redis n3
wait_for "an answer of n3" 5 answers
assert_eq "$(on client redis-cli -h $VIP config set maxclients 777)" OK
wait_for "the client counts on with n3" 20 sh -c "[ \"\$(tail -n 1 '$TMP/count' | cut -d, -f1)\" -ge 1 ]"

step "n2 comes back: its old server and sockets are gone, the new owner is unharmed"
for n in n1 n3; do
	cluster heal n2 $n
done
wait_get n1 nodes '[.[] | select(.state == "up")] | length' 3 20
wait_get n2 "ports :6379" '.[0].node' n3
wait_get n2 apps '[.[] | select(.node == "n2")] | length' 0
assert_eq "$(vip_sockets)" 0 "sockets of the address on n2"
assert_eq "$(on client redis-cli -h $VIP config get maxclients | tail -n 1)" 777 "the server that answers"
on client pkill -TERM -x count-client
wait || :
tail -n 1 "$TMP/count"
assert_match "$(tail -n 1 "$TMP/count")" ' wrong=0 '

step "n2 works as before"
on n2 ssi-run --detach --name again nc -lk 0.0.0.0 7003
wait_get n1 "ports :7003" '.[0].node' n2
wait_for "its new server answers" 5 on client timeout 3 nc -z -w 2 $VIP 7003
