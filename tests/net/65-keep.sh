#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Connections that are kept while their application is in a checkpoint: they go on after a restart on another node, also
# after one that failed, and are reset when their time is over. What no time was asked for is not kept.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 3
cluster_vip 3
tmpdir

D=/var/tmp/kept
kept() { get n1 flows '[.[] | select(.node == "" and .app == "redis-server" and .until)] | length'; }
kept_are() { [ "$(kept)" = "$1" ]; }
no_app() { [ "$(get n1 apps length)" = 0 ]; }
carry_to() { on "$1" sh -c "rm -rf $D"; on n1 tar -C /var/tmp -c kept | on "$1" tar -C /var/tmp -xp; }
# Its connections are counted by those who opened them: the client's side.
client_has() { [ "$(on client ss -Htn state established dst $VIP | wc -l)" = "$1" ]; }

redis n1
wait_for "an answer" 5 answers

step "checkpoint and restart on another node under clients that count"
count_begin -i 5 -c 5
on n1 netctl checkpoint redis-server $D --keep-connections 5m | tee "$TMP/out"
has '5 connections are kept until' <"$TMP/out"
wait_for "its end" 5 no_app
kept_are 5 || fail "kept: $(on n1 netctl flows)"
assert_eq "$(get n2 'ports :6379' length)" 0 "ports"
assert refused 6379
carry_to n2
on n2 netctl restart $D | has 'with the connections that were kept'
wait_for "that nothing is kept any more" 5 kept_are 0
sees() { tail -n 1 "$TMP/count" | has "^[0-9]"; wc -l <"$TMP/count"; }
before=$(sees)
goes_on() { [ "$(sees)" -gt $((before + 100)) ]; }
wait_for "that they count on" 20 goes_on
client_has 5 || fail "connections: $(on client ss -tn)"

step "one that fails keeps them for another try"
on n2 netctl checkpoint redis-server $D --keep-connections 5m -j | jq -e '.[0] | .connections == 5 and .kept_until and (.running | not)'
wait_for "its end" 5 no_app
on n2 tar -C /var/tmp -c kept | on n3 tar -C /var/tmp -xp
on n3 sh -c "image=\$(ls $D/2/pages-*.img | head -n 1) && cp -a \$image /var/tmp/whole && printf X | dd of=\$image bs=1 seek=5000 conv=notrunc 2>/dev/null"
assert_fails 1 on n3 netctl restart $D
kept_are 5 || fail "kept: $(on n1 netctl flows)"
step "... and the node that wrote it is gone"
cluster kill n2
wait_get n1 nodes '.[] | select(.node == "n2") | .state' dead 20
kept_are 5 || fail "kept: $(on n1 netctl flows)"
on n3 sh -c "cat /var/tmp/whole >\$(ls $D/2/pages-*.img | head -n 1)"
on n3 netctl restart $D | has 'with the connections that were kept'
before=$(sees)
wait_for "that they count on" 20 goes_on
count_end

step "its time is over: they are reset, nothing is left"
count_begin -i 5
on n3 netctl checkpoint redis-server $D --keep-connections 2s | has '1 connection is kept until'
wait_for "its end" 5 no_app
wait_for "that its time is over" 10 kept_are 0
on n3 netctl restart $D | has 'without its connections: none were kept'
wait_for "an answer" 5 answers
rc=0
wait $COUNTER || rc=$?
[ $rc = 1 ] || fail "the client ended with $rc: $(tail -n 1 "$TMP/count")"
tail -n 1 "$TMP/count" | tee "$TMP/out"
has 'resets=1 .*silent=0' <"$TMP/out"
assert_eq "$(cli client list | wc -l)" 1 "connections"
assert_eq "$(get n1 flows length)" 0 "flows"

step "without the option they end at once, as before"
on client sh -c 'sleep 1000 | nc -w 1000 '$VIP' 6379 >/dev/null' &
nc=$!
at_exit "kill $nc 2>/dev/null || :"
two() { [ "$(cli client list | wc -l)" = 2 ]; }
wait_for "its connection" 5 two
on n3 netctl checkpoint redis-server $D | has 'has ended$'
wait_for "its end" 5 no_app
assert_eq "$(get n1 flows length)" 0 "flows"

step "netd ends while it is being written: it goes on, nothing is held or kept"
cluster start n2
wait_get n1 nodes '[.[] | select(.state == "up")] | length' 3 20
on n3 netctl restart $D | has 'redis-server runs on n3'
wait_for "an answer" 5 answers
count_begin -i 5 -c 2
on n3 sh -c 'netctl checkpoint redis-server $0 --keep-connections 5m' $D >/dev/null 2>&1 &
held() { [ "$(get n1 'ports :6379' '.[0].state' 2>/dev/null)" != owned ]; }
wait_for "that its port is held" 5 held
cluster netd n3 kill
cluster netd n3 start
wait_get n3 nodes '[.[] | select(.state == "up")] | length' 3 20
owned_or_kept() { kept_are 2 || same_value n1 'ports :6379' '.[0].state' owned; }
wait_for "that it is settled" 20 owned_or_kept
kept_are 0 || { wait_for "its end" 10 no_app; on n3 netctl restart $D | has "with the connections"; }
before=$(sees)
wait_for "that they count on" 20 goes_on
count_end

step "refused"
assert_fails 2 on n1 netctl checkpoint redis-server $D --keep-connections 11m 2>"$TMP/err"
assert_fails 2 on n1 netctl checkpoint redis-server $D --keep-connections 1m --leave-running 2>"$TMP/err"
has 'take one of the two' <"$TMP/err"
