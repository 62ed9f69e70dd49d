#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The disk of a member is copied, and the copy runs beside it. It does not vote, does not lead and answers for nothing; the
# member goes on, and everybody says what is wrong: n4 gets what n2 has.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 4
cluster_vip 3
on n1 netctl set lease_ms 4000
tmpdir
redis n2
wait_for "redis at n2" 20 owner_is n1 n2
wait_for "redis answers" 20 answers
cli SET key before >/dev/null
life_of() { get n1 nodes ".[] | select(.node == \"$1\") | \"\\(.state) \\(.incarnation) \\(.epoch)\""; }
says() { local text; text=$(on "$1" netctl status 2>&1) || :; [[ $text =~ $2 ]]; }
undisturbed()
{
	assert_eq "$(life_of n2)" "$life" "n2's life"
	assert answers
	assert_eq "$(cat "$NETDIR"/log/n[123]/netd.log | grep -c -e 'no lease' -e 'declared dead')" 0 "lost leases"
}
life=$(life_of n2)

step "a copy without the address of the member waits, and says so"
on n2 tar cf - -C / var/lib/netssi etc/netssi/key | on n4 tar xf - -C /
cluster netd n4 stop
cluster netd n4 start
wait_for "n4 says what is missing" 20 says n4 'does not have 10.77.0.2:7946, the address of node n2'
undisturbed

step "with that address it is told that it is one too many"
on n4 sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore'
on n4 ip addr add 10.77.0.2/32 dev lo
wait_for "n4 knows" 40 says n4 'another machine runs as n2: it answers at 10.77.0.2:7946, this one was heard from 10.77.0.4'
said() { says n1 'two machines run as node n2: one answers at 10.77.0.2:7946, another one was heard from 10.77.0.4' ||
	says n3 'two machines run as node n2: one answers at 10.77.0.2:7946, another one was heard from 10.77.0.4'; }
wait_for "the others say so" 20 said
says n4 'netctl leave' || fail "no remedy"
[ "$(get n4 status .[0].state)" != up ] || fail "the copy is up"
! says n4 'no quorum' || fail "what follows from it is told, too"
on n1 netctl set answer_ms 4000
undisturbed

step "the leader dies: the copy has no part in the election"
leader=$(get n2 status '.[0].leader')
term=$(get n2 status '.[0].term')
on "$leader" pkill -KILL -x netd
on n4 pkill -KILL -x netd
cluster netd n4 start
[ "$leader" = n2 ] || wait_for "another one leads" 30 same_value n2 status ".[0].leader != \"$leader\" and .[0].term > $term" true
cluster netd "$leader" start
wait_get n2 nodes '[.[] | select(.state == "up")] | length' 3 30
wait_for "n4 knows again" 40 says n4 'another machine runs as n2'
wait_for "redis answers" 20 answers
assert_eq "$(cli GET key)" before

step "the copy leaves: nobody notices; it joins as itself"
on n4 netctl leave
on n4 ip addr del 10.77.0.2/32 dev lo
wait_get n1 nodes '[.[] | select(.node == "n2")][0].state' up
on n1 netctl token | on n4 netctl join 10.77.0.1 --name n4 --token-file -
wait_get n1 nodes '[.[] | select(.state == "up")] | length' 4 30
assert_eq "$(life_of n2)" "$life" "n2's life"

step "a netd that begins anew is no copy, whichever way it ended"
for signal in TERM KILL; do
	on n2 pkill -$signal -x netd
	wait_for "netd on n2 ends" 20 on n2 sh -c '! pgrep -x netd >/dev/null'
	cluster netd n2 start
	wait_get n2 status '.[0].state' up 30
done
! grep -q 'another machine' "$NETDIR/log/n2/netd.log" || fail "n2 was taken for a copy"
assert_eq "$(cli GET key)" before
