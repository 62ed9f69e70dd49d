#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# systemd-networkd starts: it takes away all routes, rules and neighbours that are not its own, and they come back.
. "${TEST_TOP:?}/tests/net/lib.sh"
NETWORKD=/usr/lib/systemd/systemd-networkd
cluster_up
on n1 test -x $NETWORKD || skip "systemd-networkd"
cluster_vip
tmpdir

# Without udev it wants a /sys that nobody writes. Ends after 4 s; what it did stays in /tmp/networkd.
networkd()
{
	on "$1" sh -c 'mkdir -p /etc/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
		chown -R systemd-network:systemd-network /run/systemd/netif
		printf "[Match]\nName=eth0\n[Network]\nAddress=10.77.0.%s/24\nLinkLocalAddressing=no\n" "$1" >/etc/systemd/network/10-eth0.network
		SYSTEMD_LOG_LEVEL=debug exec unshare -m sh -c "mount -o bind /sys /sys; mount -o remount,ro,bind /sys; exec timeout 4 '$NETWORKD'" >/tmp/networkd 2>&1' \
		sh "${1#n}" || [ $? = 124 ]
}
all_there()
{
	on "$1" ip rule | has "to $VIP iif lo" && on "$1" ip rule | has '^49:.*fwmark' &&
		on "$1" ip route show table local | has "^local $VIP " && on "$1" ip route show table 7946 | has "^$VIP " &&
		on "$1" ip neigh show nud permanent | has "^$VIP dev eth0"
}
uses_source_ports() { [ -n "$(on "$1" sysctl -n net.ipv4.ip_local_reserved_ports)" ]; }

redis n1
wait_get n2 "ports :6379" '.[0].node' n1
wait_for "it answers" 5 answers
for n in n1 n2; do
	wait_for "$n uses source ports" 10 uses_source_ports $n
done
count_begin -i 5

step "it starts on the node that serves, and on another, under a client that counts"
for n in n1 n2; do
	networkd $n
	on $n cat /tmp/networkd | has "Removing foreign routing policy rule.*10.77.0.100" || skip "a systemd-networkd that removes foreign rules"
	wait_for "all is back on $n" 10 all_there $n
	has 'were taken away; putting them back' <"$NETDIR/log/$n/netd.log"
done
count_end
wait_for "n2 reaches the address" 5 on n2 ping -q -c 1 -W 1 $VIP
