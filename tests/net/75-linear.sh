#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 7200
#
# What clients of five nodes are told agrees with one order of all operations (linearizable), while nodes are
# killed, stopped, cut off in one and in both directions, lose power, and the network loses and delays.
#
#	SEED (1) chooses the faults and the operations; SECONDS_LONG (15, in check-full 120) how long
. "${TEST_TOP:?}/tests/net/lib.sh"

seed=${SEED:-1} length=${SECONDS_LONG:-$(full && echo 120 || echo 15)}
nodes=(n1 n2 n3 n4 n5)
export NETD_BIN=$TEST_O/bin/netd-probe
cluster_up 5
cp "$TEST_O"/bin/{linear-load,linear-check,kddm-bench} "$NETDIR/share/"
cluster_form 5
on client /share/kddm-bench conf /share/n1.probe voters 5

# of NODE FIELD
of()
{
	on client /share/kddm-bench state "/share/$1.probe" |
		awk -v f="$2" '{ n["leader"] = 2; n["live"] = 3; n["voters"] = 4; n["objects"] = 5; n["applied"] = 6; print $n[f] }'
}
is() { [ "$(of "$1" "$2" 2>/dev/null)" = "$3" ]; }
wait_for "five voters" 20 is n1 voters 5

load() { on client /share/linear-load "$@" /share/n{1,2,3,4,5}.probe; }
judge() { on client /share/linear-check "/share/$1"; }

# ---- faults: each begins, lasts a while, and is undone --------------------------------------------
bad() { cluster segment nft "$@"; }
netd_pid() { on "$1" head -n 1 /sys/fs/cgroup/netd.service/cgroup.procs; }
delays() { cluster segment tc qdisc add dev "$1" root netem delay 15ms 10ms 2>/dev/null; }

# A queue that fills delays, where the kernel has no netem.
if delays v1; then
	cluster segment tc qdisc del dev v1 root
else
	delays() { cluster segment tc qdisc add dev "$1" root tbf rate 3mbit burst 6kb latency 60ms; }
fi

for_a_while() { sleep "$1.$((RANDOM % 10))"; }
port() { echo "v${1#n}"; }

fault_kill()
{
	cluster netd "$1" kill
	for_a_while $((RANDOM % 3))
	cluster netd "$1" start
}

fault_stop()
{
	local pid
	pid=$(netd_pid "$1")
	on "$1" kill -STOP "$pid"
	for_a_while $((RANDOM % 4))
	on "$1" kill -CONT "$pid"
}

fault_power()
{
	cluster kill "$1"
	for_a_while 1
	cluster start "$1"
}

fault_cut()
{
	cluster cut "$1"
	for_a_while $((1 + RANDOM % 3))
	cluster heal "$1"
}

fault_cut_pair()
{
	cluster cut "$1" "$2"
	for_a_while $((1 + RANDOM % 3))
	cluster heal "$1" "$2"
}

# one_way iifname NODE: what it says is heard by nobody; oifname: it hears nothing
one_way()
{
	bad -f - <<-EOT
		table bridge one_way_$2 {
			chain forward {
				type filter hook forward priority 0;
				$1 $(port "$2") drop
			}
		}
	EOT
}

fault_mute()
{
	one_way iifname "$1"
	for_a_while $((1 + RANDOM % 3))
	bad delete table bridge "one_way_$1"
}

# Its requests arrive and are done, it asks again, and others go on writing meanwhile.
fault_deaf()
{
	one_way oifname "$1"
	for_a_while $((RANDOM % 3))
	bad delete table bridge "one_way_$1"
}

fault_loss()
{
	bad -f - <<-EOT
		table bridge loss_$1 {
			chain forward {
				type filter hook forward priority 0;
				iifname { $(port "$1"), $(port "$2") } numgen random mod 100 < 20 drop
			}
		}
	EOT
	for_a_while $((2 + RANDOM % 3))
	bad delete table bridge "loss_$1"
}

fault_delay()
{
	delays "$(port "$1")"
	for_a_while $((1 + RANDOM % 3))
	cluster segment tc qdisc del dev "$(port "$1")" root
}

fault_everybody()
{
	local n
	for n in "${nodes[@]}"; do
		cluster netd "$n" kill
	done
	for n in "${nodes[@]}"; do
		cluster netd "$n" start
	done
}

kinds=(kill stop power cut cut_pair mute deaf loss delay kill stop)

# Two of them at a time, at different nodes; once, all netd at the same time.
trouble()
{
	local end=$((SECONDS + length)) first second third kind other n=0

	RANDOM=$seed
	for first in n2 n4 n5; do
		echo "deaf $first"
		one_way oifname "$first"
		sleep 0.8
		bad delete table bridge "one_way_$first"
	done
	while [ $SECONDS -lt $end ]; do
		first=${nodes[RANDOM % 5]}
		until second=${nodes[RANDOM % 5]}; [ "$second" != "$first" ]; do :; done
		until third=${nodes[RANDOM % 5]}; [ "$third" != "$first" ] && [ "$third" != "$second" ]; do :; done
		kind=${kinds[RANDOM % ${#kinds[@]}]} other=${kinds[RANDOM % 9]}
		n=$((n + 1))
		if [ $((n % 7)) = 4 ]; then
			echo "all netd killed"
			fault_everybody
			continue
		fi
		echo "$kind $first ($third), $other $second ($third)"
		(RANDOM=$((seed * 1000 + n)); "fault_$other" "$second" "$third") &
		"fault_$kind" "$first" "$third"
		wait $!
	done
}

step "the judge notices reads of the past: a node that hears nothing is asked for what it knows"
load -t 2 -s 1001 -l -k -o /share/stale &
clients=$!
one_way oifname n5
sleep 0.8
bad delete table bridge one_way_n5
assert wait $clients
assert_fails 1 judge stale >"$NETDIR/stale"
tail -n 1 "$NETDIR/stale"

step "$length s of trouble, seed $seed"
load -t "$length" -s "$seed" -k -o /share/history &
clients=$!
trouble
assert wait $clients
for n in "${nodes[@]}"; do
	cluster start "$n"
	wait_for "$n sees all five again" 40 is "$n" live 5
done

step "the verdict"
judge history >"$NETDIR/verdict" || { cp "$NETDIR/share/history" "$NETDIR/log/"; tail -n 60 "$NETDIR/verdict"; fail "seed $seed: the history is in $NETDIR/log/history"; }
tail -n 1 "$NETDIR/verdict"
# It has to be about something.
read -r asked _ _ keys _ <"$NETDIR/verdict"
[ "$asked" -gt $((length * 50)) ] && [ "$keys" -gt "$length" ] || fail "only $asked operations on $keys keys"

step "all nodes agree in the end"
same()
{
	local n objects applied
	objects=$(of n1 objects) applied=$(of n1 applied)
	for n in "${nodes[@]}"; do
		[ "$(of "$n" objects)" = "$objects" ] && [ "$(of "$n" applied)" = "$applied" ] || return 1
	done
}
wait_for "the same objects and entries everywhere" 20 same
