#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Servers move from node to node with clients of both families connected: on a listener of each, and on one for both.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
VIP6=fd77::100
on n1 netctl vip add $VIP6/64
tmpdir

step "redis has a listener of each family; beside it a counter with one for both"
redis n1
cat >"$NETDIR/share/count" <<'END'
#!/bin/bash
while read -r; do printf ':%d\r\n' $((n += 1)); done
END
chmod +x "$NETDIR/share/count"
on n1 ssi-run --detach --name both socat tcp6-listen:6380,ipv6only=0,fork exec:/share/count
for port in 6379 6380; do
	wait_get n3 "ports :$port" '[.[].vip] | join(" ")' "$VIP $VIP6"
done

# count NAME ADDRESS PORT: a client that counts in the background
declare -A counter
counts() { grep -q '^[0-9]' "$TMP/$1"; }
count()
{
	on client count-client -k "$1" -i 10 "$2" "$3" >"$TMP/$1" 2>"$TMP/$1.err" &
	counter[$1]=$!
	wait_for "$1 counts" 10 counts "$1"
}
count redis6 $VIP6 6379
count both6 $VIP6 6380
on n2 count-client -k inside6 -i 10 $VIP6 6379 >"$TMP/inside6" 2>"$TMP/inside6.err" &
counter[inside6]=$!
wait_for "inside6 counts" 10 counts inside6

# goes_on NAME: from now on, at least ten more
goes_on()
{
	local from
	from=$(grep -c '^[0-9]' "$TMP/$1")
	wait_for "$1 goes on" 20 eval "[ \$(grep -c '^[0-9]' '$TMP/$1') -gt $((from + 10)) ]"
}

# move APP PORT NODE
move()
{
	on n3 netctl migrate "$1" "$3" -j | jq -c '.[0] | {frozen_ms, total_ms, held_packets}' | tee "$TMP/move"
	wait_get n3 "ports :$2" '[.[] | "\(.vip) \(.node)"] | join(", ")' "$VIP $3, $VIP6 $3"
	[ "$(jq .held_packets "$TMP/move")" -gt 0 ] || fail "nothing was held"
}

step "to n2, with clients of IPv6 only"
move redis-server 6379 n2
move both 6380 n2
count redis4 $VIP 6379
count both4 $VIP 6380
for node in n3 n1; do
	step "to $node"
	move redis-server 6379 $node
	move both 6380 $node
	for name in "${!counter[@]}"; do
		goes_on "$name"
	done
done

on client pkill -TERM -x count-client
on n2 pkill -TERM -x count-client
for name in "${!counter[@]}"; do
	wait "${counter[$name]}" || fail "$name broke: $(cat "$TMP/$name.err") $(tail -n 1 "$TMP/$name")"
	echo "$name: $(tail -n 1 "$TMP/$name")"
done

step "the end of the servers: refused, in both families"
on n1 netctl signal redis-server TERM
on n1 netctl signal both TERM
for port in 6379 6380; do
	wait_get n2 "ports :$port" length 0
	assert_fails 1 on client timeout 3 nc -z -w 2 $VIP $port
	assert_fails 1 on client timeout 3 nc -z -w 2 $VIP6 $port
done
