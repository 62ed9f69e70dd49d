#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Firewalls: one that drops what it is not told to let in, and all that connection tracking calls invalid.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
tmpdir

# One that lets nothing in, with the openings of docs/OPERATIONS.md. The table is filled at once: a packet that passes
# half of it would be dropped.
firewall()
{
	local rules
	rules=$(documented 'nft add rule inet filter input') || fail "docs/OPERATIONS.md names no openings"
	on "$1" nft -f - <<-EOF
	table inet filter {
		chain input {
			type filter hook input priority 0; policy drop
			ct state invalid counter name invalid drop
			ct state established,related accept
			iif lo accept
			icmp type echo-request accept
		}
		counter invalid { }
		chain output {
			type filter hook output priority 0
			ct state invalid counter name invalid drop
		}
	}
	${rules//nft /}
	EOF
}
invalid() { on "$1" nft -j list counters | jq '[.nftables[].counter? | select(. and .name == "invalid").packets] | add // 0'; }

none_invalid()
{
	local n
	for n in n1 n2 n3; do
		assert_eq "$(invalid $n)" 0 "$n: packets that connection tracking calls invalid"
	done
}

step "nodes behind such a firewall make a cluster"
for n in n1 n2 n3; do
	firewall $n || skip "nf_conntrack"
done
cluster_vip
redis n1
wait_get n2 "ports :6379" '.[0].node' n1
wait_for "it answers" 5 answers

step "a server moves away and back under a client that counts"
count_begin -i 5
for node in n2 n3 n1 n2 n1; do
	on n1 netctl migrate redis-server $node
	sleep 0.3 # so that the connection is far from where the node saw it last
done
count_end
none_invalid

step "a client that is an application moves, too"
on client redis-server --port 6390 --protected-mode no --save '' --daemonize yes >/dev/null
ready() { [ "$(get n1 ports '[.[] | select(.state == "leased")] | length')" = 3 ]; }
wait_for "source ports" 10 ready
on n1 ssi-run --detach --name out count-client -i 5 -t 600 10.77.0.250 6390
counted() { on "$1" netctl logs out --lines 1 | cut -d, -f1; }
beyond() { local now; now=$(counted "$1"); [[ $now =~ ^[0-9]+$ ]] && [ "$now" -gt "$2" ]; }
wait_for "it counts" 10 beyond n1 5
for node in n3 n1 n2 n1; do
	was=$(counted n1)
	on n1 netctl migrate out $node
	wait_for "it goes on on $node" 20 beyond $node $((was + 5))
done
on n1 netctl signal out TERM
logged() { on n1 sh -c "cat /run/netssi/log/out.log" | has '^summary .*resets=0 reconnects=0 wrong=0'; }
wait_for "nothing broke" 10 logged
on n1 sh -c "grep ^summary /run/netssi/log/out.log"
none_invalid

step "the ruleset is flushed and comes back under traffic"
count_begin -i 5
for n in n1 n2 n3; do
	on $n nft flush ruleset
	firewall $n
done
was=$(on client redis-cli -h $VIP get count)
more() { [ "$(on client redis-cli -h $VIP get count)" -gt $((was + 20)) ]; }
wait_for "the client counts on" 10 more
count_end
none_invalid
