#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A machine behind a hop of small MTU: "packet too big" finds the node that has the connection, in both families.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
VIP6=fd77::100
on n1 netctl vip add $VIP6/64

# far -- (takes 1300 bytes) client -- nodes
on client sh -ec '
	ip netns add far
	ip link add r0 type veth peer name eth0 netns far
	ip link set r0 mtu 1300 up
	ip addr add 10.79.0.1/24 dev r0
	ip addr add fd79::1/64 dev r0 nodad
	sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	ip netns exec far sh -ec "ip link set eth0 up
		ip addr add 10.79.0.2/24 dev eth0
		ip addr add fd79::2/64 dev eth0 nodad
		ip route add default via 10.79.0.1
		ip -6 route add default via fd79::1"'
for n in n1 n2 n3; do
	on $n sh -ec 'ip route add 10.79.0.0/24 via 10.77.0.250; ip -6 route add fd79::/64 via fd77::250'
done

head -c 300000 /dev/urandom >"$NETDIR/share/large"
want=$(cksum <"$NETDIR/share/large")
port=8000
for owner in n1 n2 n3; do
	port=$((port + 1))
	on $owner ssi-run --detach --name at-$owner socat -U tcp6-listen:$port,ipv6only=0,fork open:/share/large,rdonly
	wait_get n2 "ports :$port" '[.[].node] | join(" ")' "$owner $owner"
	for vip in "[$VIP6]" $VIP; do
		got=$(on client ip netns exec far timeout 20 socat -u "tcp:$vip:$port,connect-timeout=5" - | cksum)
		assert_eq "$got" "$want" "through $vip from $owner"
	done
done

step "what programs call from the cluster's addresses, too"
leads() { on "$1" ip route get 10.79.0.2 mark 0x535349 | has "src $VIP " && on "$1" ip -6 route get fd79::2 mark 0x535349 | has "src $VIP6 "; }
cat >"$NETDIR/share/take.py" <<'EOF'
import socket, zlib
s = socket.create_server(('', 9000), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    c, a = s.accept()
    data = b''
    while more := c.recv(65536):
        data += more
    c.sendall(b'%s %d' % (a[0].encode(), zlib.crc32(data)))
    c.close()
EOF
cat >"$NETDIR/share/give.py" <<'EOF'
import socket, sys, zlib
data = open('/share/large', 'rb').read()
c = socket.create_connection((sys.argv[1], 9000), 20)
c.sendall(data)
c.shutdown(socket.SHUT_WR)
print(c.recv(100).decode() == '%s %d' % (sys.argv[2], zlib.crc32(data)))
EOF
on client ip netns exec far python3 /share/take.py &
wait_for "the machine there listens" 5 on client ip netns exec far sh -c 'ss -Htln | grep -q :9000'
for n in n1 n2 n3; do
	wait_for "$n calls from the addresses" 10 leads $n
	assert_eq "$(on $n ssi-run --name give4 python3 /share/give.py 10.79.0.2 ::ffff:$VIP)" True "from $VIP on $n"
	assert_eq "$(on $n ssi-run --name give6 python3 /share/give.py fd79::2 $VIP6)" True "from $VIP6 on $n"
done
