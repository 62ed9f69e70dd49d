#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Nodes with two interfaces, cluster addresses of both families on each: reached from outside and inside, whoever has the port.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
# shellcheck disable=SC2016
cluster segment bash -ec '
	ip link add br1 type bridge mcast_snooping 0 forward_delay 0
	ip link set br1 up
	for node in n1 n2 n3 client; do
		ip link add "w$node" type veth peer name eth1 netns "$(cat "/mnt/$node/init")"
		ip link set "w$node" master br1 up
	done'
i=0
for node in n1 n2 n3 client; do
	i=$((i + 1))
	on $node sh -c "ip link set eth1 up; ip addr add 10.78.0.$i/24 dev eth1; ip addr add fd78::$i/64 dev eth1 nodad"
done
cluster_vip
OTHER=10.78.0.100
on n1 netctl vip add fd77::100/64
on n1 netctl vip add $OTHER/24
on n1 netctl vip add fd78::100/64
all="$VIP [fd77::100] $OTHER [fd78::100]"
assert_eq "$(get n2 vips '[.[] | "\(.addr) \(.dev) \(.state)"] | sort | join(", ")')" \
	"$VIP eth0 up, $OTHER eth1 up, fd77::100 eth0 up, fd78::100 eth1 up"

# answer NODE ADDRESS: what the servers there say, by TCP and UDP
answer()
{
	local try
	on "$1" timeout 30 socat -u "tcp:$2:8001,connect-timeout=20" -
	# A second is much, but the machine may be busy.
	for try in 1 5; do
		! echo "$1" | on "$1" timeout 10 socat -t $try - "udp:$2:5353" | grep . || return 0
	done
} 2>/dev/null

step "servers of TCP and UDP on all addresses"
on n1 ssi-run --detach --name tcp socat tcp6-listen:8001,ipv6only=0,fork exec:hostname
for vip in $all; do
	family=4
	[ "${vip#\[}" = "$vip" ] || family=6
	on n1 ssi-run --detach --name "udp-${vip//[!0-9]/}" socat udp$family-recvfrom:5353,bind=$vip,fork exec:cat
done
wait_get n3 "ports :8001" '[.[].node] | join(" ")' "n1 n1 n1 n1"
wait_get n3 "ports :5353/udp" '[.[].node] | join(" ")' "n1 n1 n1 n1"

# answered NODE ADDRESS...
answered()
{
	local node=$1 vip
	shift
	for vip; do
		assert_eq "$(answer $node $vip)" "n1"$'\n'"$node" "$vip from $node"
		on $node ping -q -c 1 -W 1 "$(tr -d '[]' <<<"$vip")" >/dev/null || fail "no echo of $vip to $node"
	done
}
# from all machines at once
answered_all()
{
	local node pids=()
	for node in client n1 n2 n3; do
		answered $node "$@" &
		pids+=($!)
	done
	for node in "${pids[@]}"; do
		wait "$node"
	done
}
answered_all $all

step "refused everywhere"
for node in client n1 n2 n3; do
	for vip in $all; do
		assert_fails 1 on $node timeout 3 nc -z -w 2 "$(tr -d '[]' <<<"$vip")" 22
	done
done

step "one address goes, the others stay"
on n2 netctl vip del fd78::100
answered_all $VIP "[fd77::100]" $OTHER
