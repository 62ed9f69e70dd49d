#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What an application calls over IPv6 stays with it when it moves: connections, and datagrams with and without one.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir
VIP6=fd77::100
on n1 netctl vip add $VIP6/64
leads() { on "$1" ip -6 route get fd77::250 mark 0x535349 | has "src $VIP6 "; }
for n in n1 n2 n3; do
	wait_for "$n calls from the address" 10 leads $n
done

# Asks again and again from one socket; a line says how often it was answered, as whom, and how often not.
cat >"$NETDIR/share/ask.py" <<'EOF2'
import socket, sys, time
how, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.settimeout(1)
if how == 'connected':
    s.connect((host, port))
n = lost = 0
who = ''
while True:
    try:
        s.sendto(b'?', (host, port)) if how != 'connected' else s.send(b'?')
        was, who = who, s.recv(100).decode()
        if was and was != who:
            print('first', was, 'then', who, flush=True)
            break
        n += 1
    except OSError:
        lost += 1
    print(n, who, lost, flush=True)
    time.sleep(0.05)
EOF2
# Says who asks.
cat >"$NETDIR/share/tell.py" <<'EOF2'
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(('::', int(sys.argv[1])))
while True:
    a = s.recvfrom(100)[1]
    s.sendto(b'%s/%d' % (a[0].encode(), a[1]), a)
EOF2

said() { on "$2" netctl logs "$1" --lines 1; }
# The first number of what APP says
count() { local line; line=$(said "$1" "$2") || return; line=${line%%[ ,]*}; [[ $line =~ ^[0-9]+$ ]] && echo "$line"; }
counts_beyond() { local now; now=$(count "$1" "$2") && [ "$now" -gt $(($3 + 3)) ]; }
counts_on()
{
	local was=0
	was=$(count "$1" "$2" || echo 0)
	wait_for "$1 goes on on $2" 10 counts_beyond "$1" "$2" "$was"
}

step "servers outside, and one in the cluster"
on client redis-server --port 6379 --protected-mode no --save '' --daemonize yes >/dev/null
wait_for "the server outside answers" 5 on client redis-cli -h ::1 ping
on client python3 /share/tell.py 5001 &
on n2 ssi-run --detach --name tell python3 /share/tell.py 6001
wait_get n1 "ports :6001/udp" '[.[] | select(.vip == "fd77::100").node] | join(" ")' n2
wait_for "the one outside is there" 5 on client sh -c "ss -Huln | grep -q :5001"

step "clients on n1"
on n1 ssi-run --detach --name stream count-client -i 5 -t 600 fd77::250
on n1 ssi-run --detach --name outside python3 /share/ask.py free fd77::250 5001
on n1 ssi-run --detach --name connected python3 /share/ask.py connected fd77::250 5001
on n1 ssi-run --detach --name inside python3 /share/ask.py free $VIP6 6001
clients="stream outside connected inside"
declare -A who
for app in $clients; do
	counts_on $app n1
	who[$app]=$(said $app n1 | cut -d' ' -f2)
	[ $app = stream ] || assert_match "${who[$app]}" "^$VIP6/[0-9]+$" "$app calls as"
done
assert_eq "$(on client ss -Htn state established sport = :6379 | grep -c "\[$VIP6\]:")" 1 "connections from the cluster's address"

for node in n3 n2 n1; do
	step "they move to $node"
	for app in $clients; do
		on n2 netctl migrate $app $node
		counts_on $app $node
		[ $app = stream ] || assert_eq "$(said $app $node | cut -d' ' -f2)" "${who[$app]}" "$app calls as"
	done
done
on n2 netctl signal stream TERM
logged() { on n1 sh -c "cat /run/netssi/log/stream.log" | has '^summary .*resets=0 reconnects=0 wrong=0'; }
wait_for "it says that nothing broke" 5 logged
for app in outside connected inside; do
	said $app n1
done
