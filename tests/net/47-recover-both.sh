#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Both sides of a cut are rebuilt: two clusters of one descent, that count alike. After healing they notice each
# other, say so, and do not mix.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir

problems() { get "$1" status '[.[0].problems[] | .problem + "; " + .remedy] | join("\n")'; }
tells() { problems "$1" | has 'rebuilt twice.*answers at 10.77.0.'"$2"':.*leave --force.*netctl join'; }

step "n1 and n2 are cut from each other, n3 is off, and both are rebuilt"
cluster kill n3
cluster cut n1
cluster cut n2
for n in n1 n2; do
	wait_get $n status '.[0].quorum' false 20
	# It takes its time until the old leader is given up.
	wait_for "$n is rebuilt" 30 on $n netctl recover --force
done
for n in n1 n2; do
	wait_get $n status '.[0].quorum' true 30
	assert_eq "$(get $n status '.[0].generation')" 1 "generation of $n"
	wait_get $n nodes '[.[] | select(.state == "up") | .node] | join(" ")' $n 20
done

step "healed: each says that there is another one, where it answers, and what to do"
cluster heal n1
cluster heal n2
wait_for "n1 tells of n2" 30 tells n1 2
wait_for "n2 tells of n1" 30 tells n2 1
problems n1
assert_fails 1 on n1 netctl status --check >/dev/null
for n in n1 n2; do
	assert_eq "$(get $n nodes '[.[] | select(.state == "up") | .node] | join(" ")')" $n "who is up at $n"
done

step "one of the two ends, and its node joins the other"
on n2 netctl leave --force
on n1 netctl token | on n2 netctl join 10.77.0.1 --token-file -
wait_get n1 nodes '[.[] | select(.state == "up") | .node] | join(" ")' "n1 n2" 20
assert_eq "$(get n2 status '.[0].generation')" 1 "generation of n2"

step "n3, of neither, comes back and joins anew"
cluster start n3
wait_get n1 nodes '[.[] | select(.state == "up") | .node] | join(" ")' "n1 n2 n3" 40
wait_get n3 status '.[0].generation' 1 20
