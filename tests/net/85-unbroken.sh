#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Long-lived clients through every change of the cluster around them: of each node's servers, by TCP and UDP, from
# outside and from the other nodes. Nothing is reset, refused or lost; the longest pause of each change is printed.
. "${TEST_TOP:?}/tests/net/lib.sh"
NETWORKD=/usr/lib/systemd/systemd-networkd
cluster_up 4
cluster_vip 3
tmpdir
# For changes, not for a machine that is busy.
on n1 netctl set lease_ms 8000

pids=() names=()
# flow NAME NODE CMD...: a client there
flow()
{
	local name=$1 node=$2
	shift 2
	on "$node" "$@" >"$TMP/$name" 2>"$TMP/$name.err" &
	pids+=($!)
	names+=("$name")
	wait_for "$name counts" 10 grep -q '^[0-9]' "$TMP/$name"
}
# The flows of a node's servers: TCP from the client and from node $2, UDP from the client.
serve()
{
	local i=${1#n}
	on "$1" ssi-run --detach --name "tcp-$1" redis-server --port "700$i" --protected-mode no --save '' >/dev/null
	on "$1" ssi-run --detach --name "udp-$1" count-udp -l $VIP "710$i" >/dev/null
	wait_get n1 "ports :700$i" '.[0].node' "$1"
	wait_get n1 "ports :710$i/udp" '.[0].node' "$1"
	wait_for "tcp-$1 answers" 10 pong "700$i"
	flow "tcp-$1" client count-client -i 10 $VIP "700$i"
	flow "inside-$1" "$2" count-client -i 10 -k inside $VIP "700$i"
	flow "udp-$1" client count-udp $VIP "710$i"
}
pong() { [ "$(on client timeout 2 redis-cli -h $VIP -p "$1" PING 2>/dev/null)" = PONG ]; }
serve n1 n2
serve n2 n3
serve n3 n1

# Where each flow was when a change began.
declare -A at=()
lines() { wc -l <"$TMP/$1"; }
mark() { local f; for f in "${names[@]}"; do at[$f]=$(lines "$f"); done; }
since() { tail -qn "+$((at[$1] + 1))" "$TMP/$1"; }
over() { ! kill -0 "$1" 2>/dev/null; }
went_on() { over "$3" || [ "$(lines "$1")" -ge "$2" ]; }
# changed WHAT: all flows go on; how long they paused. LOSSY is what datagrams may be lost in.
changed()
{
	local i f ms worst=0 which='' lost
	for i in "${!names[@]}"; do
		f=${names[i]}
		wait_for "$f goes on after: $1" 20 went_on "$f" $(($(lines "$f") + 5)) "${pids[i]}"
		! over "${pids[i]}" || fail "$1 broke $f: $(cat "$TMP/$f.err") $(tail -n 1 "$TMP/$f")"
		ms=$(since "$f" | awk -F ', ' '/^[0-9]/ && $2 > max { max = $2 } END { printf "%d", max }')
		[ "$ms" -lt $worst ] || { worst=$ms; which=$f; }
		lost=$(since "$f" | grep -c ^lost || :)
		[ "$lost" = 0 ] || [ "$1" = "$LOSSY" ] || fail "$1: $f lost $lost"
		allowed=$((allowed + lost))
	done
	printf '%-52s longest pause %5d ms (%s)\n' "$1" "$worst" "$which"
	mark
}
allowed=0
LOSSY=none
all_up() { wait_get n1 nodes '[.[] | select(.state == "up")] | length' "$1" 30; }
mark
changed "nothing"

on n1 netctl vip add 10.77.0.101/24
on n1 netctl vip add fd77::100/64
changed "two more addresses"
on n1 netctl vip del 10.77.0.101
on n1 netctl vip del fd77::100
changed "they go"

for n in n1 n2 n3; do
	on n1 netctl port add :2300-2310 node $n
	on n1 netctl port add :2300/udp node $n
	on n1 netctl port del :2300-2310
	on n1 netctl port del :2300/udp
done
changed "ports are given and taken back"
for n in n1 n2 n3; do
	on $n ssi-run --name short timeout 1 nc -lk 0.0.0.0 2400 || :
done
changed "servers come and go"

for n in n1 n2 n3; do
	cluster netd $n stop
	cluster netd $n start
	wait_get $n status '.[0].state' up 20
	changed "netd of $n is restarted"
	cluster netd $n kill
	cluster netd $n start
	wait_get $n status '.[0].state' up 20
	changed "netd of $n is killed and started"
done

on n1 netctl token | on n4 netctl join 10.77.0.1 --token-file -
all_up 4
changed "a node joins"
on n4 netctl leave
wait_get n1 nodes length 3 20
changed "it leaves"
on n1 netctl token | on n4 netctl join 10.77.0.1 --token-file -
all_up 4
cluster kill n4
wait_get n1 nodes '.[] | select(.node == "n4").state' dead 30
changed "it joins and loses its power"
on n1 netctl leave n4

on n1 ssi-run --detach --name other redis-server --port 7200 --protected-mode no --save '' >/dev/null
for n in n2 n3 n1; do
	on n1 netctl migrate other $n 2>/dev/null
	changed "another application moves to $n"
done
on n1 netctl signal other TERM

on n2 netctl key rotate --overlap 10s
changed "a new key"
for ms in 4000 12000 8000; do
	on n1 netctl set lease_ms $ms
	changed "leases of $ms ms"
done
on n1 netctl set voters 1
changed "one voter"
on n1 netctl set voters 3
changed "three voters"

for n in n1 n2 n3; do
	on $n nft -f - <<<'table inet some { chain input { type filter hook input priority 0; ct state invalid drop; }; }' || break
	on $n nft flush ruleset
done
changed "firewalls come and are flushed"

key_over() { [ "$(grep -l 'good no more' "$NETDIR"/log/n[123]/netd.log | wc -l)" = 3 ]; }
wait_for "the end of the old key" 30 key_over
changed "the old key ends"

# Without the routes of the address nothing comes in for some ten milliseconds: TCP waits, a datagram is gone.
LOSSY="systemd-networkd starts everywhere"
networkd()
{
	on "$1" sh -c 'mkdir -p /etc/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
		chown -R systemd-network:systemd-network /run/systemd/netif
		printf "[Match]\nName=eth0\n[Network]\nAddress=10.77.0.%s/24\nLinkLocalAddressing=no\n" "$1" >/etc/systemd/network/10-eth0.network
		exec unshare -m sh -c "mount -o bind /sys /sys; mount -o remount,ro,bind /sys; exec timeout 4 '$NETWORKD'" >/tmp/networkd 2>&1' \
		sh "${1#n}" || [ $? = 124 ]
}
if on n1 test -x $NETWORKD; then
	for n in n1 n2 n3; do
		networkd $n
	done
	changed "$LOSSY"
fi

step "the end"
on client sh -c 'pkill -TERM -x count-client; pkill -TERM -x count-udp'
for n in n1 n2 n3; do
	on $n pkill -TERM -x count-client
done
for i in "${!names[@]}"; do
	rc=0
	wait "${pids[i]}" || rc=$?
	echo "${names[i]}: $(tail -n 1 "$TMP/${names[i]}")"
	case ${names[i]} in
	udp-*) assert_match "$(tail -n 1 "$TMP/${names[i]}")" 'lost=[0-9]+ refused=0 wrong=0' ;;
	*) assert_eq $rc 0 "${names[i]} $(cat "$TMP/${names[i]}.err")" ;;
	esac
done
lost=$(sed -n 's/^summary.* lost=\([0-9]*\).*/\1/p' "$TMP"/udp-n[123] | awk '{ n += $1 } END { print n }')
echo "datagrams lost: $lost, where systemd-networkd had taken the routes away: $allowed"
[ "$lost" -le $allowed ] || fail "$lost datagrams were lost"
