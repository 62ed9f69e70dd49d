#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# NetworkManager has the interface of the cluster: it starts, is reloaded and restarted, takes its connection down and up,
# while clients outside and inside count on connections that they keep.
. "${TEST_TOP:?}/tests/net/lib.sh"
layer network-manager
cluster_up
cluster_vip
# Down is as long as the machine is busy; nobody shall die of it.
on n1 netctl set lease_ms 20000
on n1 netctl vip add fd77::100/64
tmpdir

# Without udev it wants a /sys that nobody writes.
on n1 sh -c 'mkdir -p /run/dbus && dbus-daemon --system --fork'
on n1 sh -c 'umask 077; cat >/etc/NetworkManager/conf.d/test.conf; cat >/etc/NetworkManager/system-connections/cluster.nmconnection <<-EOF
	[connection]
	id=cluster
	type=ethernet
	interface-name=eth0
	[ipv4]
	method=manual
	addresses=10.77.0.1/24
	[ipv6]
	method=manual
	addresses=fd77::1/64
	EOF' <<-EOF
	[main]
	auth-polkit=root-only
	dns=none
	no-auto-default=*
	EOF
has_eth0() { on n1 nmcli -g GENERAL.STATE device show eth0 2>/dev/null | has '^100'; }
manager()
{
	# shellcheck disable=SC2016
	on n1 sh -c 'setsid unshare -m sh -c "mount -o bind /sys /sys; mount -o remount,ro,bind /sys
		exec NetworkManager --no-daemon" >>/tmp/manager 2>&1 & echo $! >/tmp/manager.pid'
	wait_for "NetworkManager has eth0" 10 has_eth0
}
# shellcheck disable=SC2016
manager_ends() { on n1 sh -c 'pid=$(cat /tmp/manager.pid); kill -TERM $pid; timeout 60 tail --pid=$pid -s 0.05 -f /dev/null'; }
all_there()
{
	on n1 ip rule | has "to $VIP iif lo" && on n1 ip -6 rule | has "to fd77::100 iif lo" &&
		on n1 ip route show table local | has "^local $VIP " && on n1 ip route show table 7946 | has "^$VIP " &&
		on n1 ip neigh show nud permanent | has "^$VIP dev eth0" && on n1 ip -6 addr show dev eth0 | has fd77::100/128 &&
		on n1 ip -6 route show table 7946 | has '^fd77::100 ' && on n1 ip neigh show nud permanent | has '^fd77::100 dev eth0' &&
		same_value n1 vips '[.[].nodes[] | select(.node == "n1").state] | join(" ")' 'up up'
}

redis n1
wait_get n2 "ports :6379" '[.[].node] | join(" ")' "n1 n1"
wait_for "it answers" 5 answers
on n2 count-client -i 5 -k inside $VIP >"$TMP/inside" 2>&1 &
inside=$!
on client count-client -i 5 -k six fd77::100 >"$TMP/six" 2>&1 &
six=$!
count_begin -i 5
count_goes_on()
{
	local was
	was=$(on client redis-cli -h $VIP get count)
	wait_for "the client counts on after: $1" 10 more $((was + 10))
}
more() { [ "$(on client timeout 2 redis-cli -h $VIP get count)" -gt "$1" ] 2>/dev/null; }

step "it starts, and is restarted"
manager
wait_for "all is there" 10 all_there
manager_ends
manager
wait_for "all is there" 10 all_there
count_goes_on restart

step "reload and reapply"
for verb in "general reload" "connection reload" "device reapply eth0"; do
	# shellcheck disable=SC2086
	on n1 nmcli $verb
	wait_for "all is there" 10 all_there
	count_goes_on "$verb"
done

step "the connection is made anew: what it took away is back within a tenth of a second"
on n1 sh -c 'setsid ip -ts monitor address route >/tmp/monitor 2>&1 & echo $! >/tmp/monitor.pid'
for i in 1 2 3 4 5; do
	on n1 nmcli connection up cluster
	wait_for "all is there" 10 all_there
	count_goes_on "connection up"
done
has '10.77.0.100 exposed on eth0' <"$NETDIR/log/n1/netd.log"

step "down, and up again"
for i in 1 2 3; do
	on n1 nmcli connection down cluster
	on n1 nmcli connection up cluster
	wait_for "all is there" 10 all_there
	count_goes_on "connection down and up"
done
# From the node's address to the cluster's, in ms: the machine may be busy, so the quickest counts.
# shellcheck disable=SC2016
back=$(on n1 sh -c 'kill $(cat /tmp/monitor.pid); cat /tmp/monitor' | awk '
	{ split(substr($1, 13), t, /[:\]]/); ms = ((t[1] * 60 + t[2]) * 60 + t[3]) * 1000 }
	/inet 10\.77\.0\.1\/24 brd/ { from = ms }
	/\] local 10\.77\.0\.100 dev lo/ && from { printf "%d\n", ms - from; from = 0 }' | sort -n)
[ -n "$back" ] || fail "nothing was taken away"
echo "the cluster's address was back after the node's own by" $back ms
[ "${back%%[!0-9]*}" -le 100 ] || fail "too late"

count_end
on n2 pkill -TERM -x count-client
wait $inside || fail "inside: $(cat "$TMP/inside")"
wait $six || fail "by IPv6: $(cat "$TMP/six")"
tail -qn 1 "$TMP/inside" "$TMP/six"
