# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Frames that another node takes, rejected in three ways, for suites that source this: on a veth, on one CPU,
# generator included. by_steer, by_cluster and by_jhash make one run and set `pps`; of IPv6 where six=6.
#
#	netns tx                      netns node, 10.77.0.100 and fd77::64 are cluster IPs
#	steer-bench send --- v0 === v1   steer (XDP)  |  xt_cluster + conntrack  |  nft jhash
seconds=${SECONDS_EACH:-2}
six=
tx=steer-tx-$$ node=steer-node-$$

frames_cleanup()
{
	[ -z "${to_receiver-}" ] || exec {to_receiver}>&- 2>/dev/null || true
	ip netns del "$tx" 2>/dev/null || true
	ip netns del "$node" 2>/dev/null || true
}

network()
{
	ip netns add "$tx"
	ip netns add "$node"
	ip -n "$tx" link add v0 type veth peer name v1 netns "$node"
	ip -n "$tx" link set v0 up
	ip -n "$node" link set lo up
	ip -n "$node" addr add 10.77.0.2/16 dev v1
	ip -n "$node" link set v1 up
	ip -n "$node" route add local 10.77.0.100 dev lo
	ip -n "$node" route add local fd77::64 dev lo
	ip -n "$node" route add default dev v1
	ip -n "$node" -6 route add default dev v1
	# frames from XDP reach a veth only through NAPI, as they reach a real card
	ip netns exec "$node" ethtool -K v1 gro on >/dev/null || die "veth without GRO: no NAPI"
}

# by_*: one run, sets pps
send() { ip netns exec "$tx" "$bench" send v0 "$seconds" $six; }
vip() { [ -z "$six" ] && echo 10.77.0.100 || echo fd77::64; }
mangle() { in_node "ip${six}tables-legacy" -t mangle "$@"; }

by_steer()
{
	local sent took count line

	coproc receiver { ip netns exec "$node" "$bench" receive v1 $six; }
	to_receiver=${receiver[1]}
	local from=${receiver[0]} pid=${receiver_PID:?}
	read -r line <&"$from" || die "XDP does not attach to a veth"
	[ "$line" = ready ] || die "XDP does not attach to a veth"
	read -r sent took < <(send)
	exec {to_receiver}>&-
	read -r count <&"$from"
	wait "$pid" || true
	rate "$count" "$took" "$sent"
}

by_cluster()
{
	local sent took count

	mangle -A PREROUTING -d "$(vip)" -m cluster --cluster-total-nodes 2 \
		--cluster-local-node 1 --cluster-hash-seed 0xdead -j DROP || die "xt_cluster cannot be used on this kernel"
	mangle -A PREROUTING -d "$(vip)" -j DROP
	read -r sent took < <(send)
	count=$(mangle -nvxL PREROUTING | awk '/DROP/ { n += $1 } END { print n }')
	[ "$(in_node sysctl -n net.netfilter.nf_conntrack_buckets)" -gt 0 ] || die "no conntrack under xt_cluster"
	mangle -F
	mangle -X
	rate "$count" "$took" "$sent"
}

by_jhash()
{
	local sent took count ip=ip$six

	in_node nft -f - <<-END || die "nft jhash cannot be used on this kernel"
		table $ip steer {
			counter drops { }
			chain pre {
				type filter hook prerouting priority raw; policy accept;
				$ip daddr $(vip) jhash $ip saddr . udp sport mod 2 seed 0xdead 0 counter name drops drop
				$ip daddr $(vip) counter name drops drop
			}
		}
	END
	read -r sent took < <(send)
	count=$(in_node nft -j list counters table $ip steer | jq '[.nftables[].counter? | select(.) | .packets] | add')
	in_node nft delete table $ip steer
	rate "$count" "$took" "$sent"
}

in_node() { ip netns exec "$node" "$@"; }

rate()
{
	[ "${1:-0}" -gt 0 ] || die "no frame was decided (of $3 sent)"
	pps=$(calc %.0f "$1 / $2")
}
