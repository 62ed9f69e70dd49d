#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 600
# A cluster of many nodes (MANY: 12, in check-full 64): forming, a death, the death of the leader, and the loss
# of all power; every node tells the same at every step.
. "${TEST_TOP:?}/tests/net/lib.sh"
MANY=${MANY:-$(full && echo 64 || echo 12)}
cluster_up "$MANY"
tmpdir

each() # each CMD N...: CMD in parallel, eight at a time
{
	local cmd=$1 n
	shift
	printf '%s\n' "$@" | xargs -P 8 -I{} "$CLUSTER" "$cmd" n{}
}
# How many of the nodes $2... say that $1 are up
say_up() { local want=$1 n; shift; for n; do same_value "n$n" nodes '[.[] | select(.state == "up")] | length' "$want" || return 1; done; }
range() { seq "$1" "$2"; }
all=$(range 1 "$MANY")

step "$MANY nodes join, one after the other"
at=$(now_ms)
on n1 netctl init
on n1 netctl token --ttl 30m >"$TMP/token"
for i in $(range 2 "$MANY"); do
	on "n$i" netctl join 10.77.0.1 --token-file - <"$TMP/token" >/dev/null
done
# shellcheck disable=SC2086
wait_for "all know all" 60 say_up "$MANY" $all
echo "$MANY nodes after $(($(now_ms) - at)) ms"
on n1 netctl set voters 5
wait_get n1 nodes '[.[] | select(.role == "voter")] | length' 5 30
assert_eq "$(get n1 nodes '[.[] | select(.role == "standby")] | length')" $((MANY - 5)) "standbys"
wait_get n1 status '.[0].healthy' true 20

step "every node writes, every node reads it"
for i in $all; do
	on "n$i" netctl set nodes_min "$((i % 4))" >/dev/null
done
same_sets() { local v n; v=$(get n1 sets '[.[] | [.set, .objects, .version]] | tostring'); for n in $all; do [ "$(get "n$n" sets '[.[] | [.set, .objects, .version]] | tostring')" = "$v" ] || return 1; done; }
wait_for "the sets agree on all nodes" 30 same_sets

step "a standby dies"
at=$(now_ms)
cluster kill "n$MANY"
# shellcheck disable=SC2086,SC2046
wait_for "all survivors say so" 30 say_up $((MANY - 1)) $(range 1 $((MANY - 1)))
echo "a death: known to all after $(($(now_ms) - at)) ms, asking them included"

step "the leader dies, a standby votes in its place"
leader=$(get n2 status '.[0].leader')
at=$(now_ms)
cluster kill "$leader"
rest=$(for i in $(range 1 $((MANY - 1))); do [ "n$i" = "$leader" ] || echo "$i"; done)
# shellcheck disable=SC2086
wait_for "all survivors say so" 60 say_up $((MANY - 2)) $rest
echo "the leader's death: known to all after $(($(now_ms) - at)) ms, asking them included"
first=n$(head -n 1 <<<"$rest")
wait_get "$first" nodes '[.[] | select(.role == "voter" and .state == "up")] | length' 5 30
on "$first" netctl set nodes_min 3

step "all power is lost, and returns"
# shellcheck disable=SC2086
each kill $rest
at=$(now_ms)
# shellcheck disable=SC2086
each start $all
# shellcheck disable=SC2086
wait_for "all are back" 120 say_up "$MANY" $all
echo "$MANY nodes are back $(($(now_ms) - at)) ms after the first was switched on"
assert_eq "$(on n2 netctl set -j | jq '.[] | select(.key == "nodes_min").value')" 3 "a setting from before"
wait_for "the sets agree on all nodes" 30 same_sets
