#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Source ports: what leaves from the cluster's address uses leased blocks, and what comes back finds its node.
. "${TEST_TOP:?}/tests/net/lib.sh"
need jq
THEIRS=8080,40000-40010
cluster_up
tmpdir

reserved() { on "$1" sysctl -n net.ipv4.ip_local_reserved_ports; }
leased() { get "$1" ports ".[] | select(.state == \"leased\" and .node == \"$2\").ranges"; }
# How many of RANGES from LOW to HIGH.
count_ports()
{
	awk -F- -v low="$2" -v high="$3" 'BEGIN { RS = "," } {
		a = $1 < low ? low : $1 + 0
		b = $2 ? $2 + 0 : $1 + 0
		if (b > high) b = high
		if (b >= a) n += b - a + 1
	} END { print n + 0 }' <<<"$1"
}
has_leased() { [ -n "$(leased n1 "$1")" ]; }
# Is PORT in RANGES?
within() { awk -F- -v p="$1" 'BEGIN { RS = "," } p >= $1 && p <= ($2 ? $2 : $1) { f = 1 } END { exit !f }' <<<"$2"; }
inside() { count_ports "$(leased n1 "$1")" 45056 45631; }
leased_share() { [ "$(inside "$1")" -ge 64 ] && [ "$(inside "$1")" -le 192 ]; }
leased_is() { [ "$(inside "$1")" = "$2" ]; }

# An application that calls CLIENT or VIP in every way there is and prints from where each call came.
cat >"$NETDIR/share/call.py" <<'EOF'
import socket, sys
host, tcp, udp = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def ask(s, send):
    s.settimeout(5)
    send(s)
    return s.recv(100).decode()
family = socket.AF_INET6 if ':' in host else socket.AF_INET
def stream(prepare=lambda s: None):
    s = socket.socket(family)
    prepare(s)
    s.connect((host, tcp))
    return ask(s, lambda s: s.send(b'?'))
def datagram(prepare=lambda s: None):
    s = socket.socket(family, socket.SOCK_DGRAM)
    prepare(s)
    return ask(s, lambda s: s.sendto(b'?', (host, udp)))
def joined():
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.connect((host, udp))
    return ask(s, lambda s: s.send(b'?'))
print('tcp', stream())
print('tcp-bound', stream(lambda s: s.bind(('', 0))))
print('udp-sendto', datagram())
print('udp-bound', datagram(lambda s: s.bind(('', 0))))
print('udp-connect', joined())
EOF
# A server of both families that says who called.
cat >"$NETDIR/share/who.py" <<'EOF'
import socket, select, sys
def who(a):
    return b'%s %d' % (a[0].replace('::ffff:', '').encode(), a[1])
t = socket.create_server(('', int(sys.argv[1])), backlog=1024, family=socket.AF_INET6, dualstack_ipv6=True)
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
u.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
u.bind(('', int(sys.argv[2])))
held = {t: None, u: None}
while True:
    for s in select.select(list(held), [], [])[0]:
        if s is t:
            c, a = t.accept()
            held[c] = a
        elif s is u:
            d, a = u.recvfrom(100)
            u.sendto(who(a), a)
        elif s.recv(100):
            s.send(who(held[s]))
        else:
            held.pop(s)
            s.close()
EOF
# Opens connections until none can be had for two seconds; prints how many and why.
cat >"$NETDIR/share/fill.py" <<'EOF'
import errno, socket, sys, time
held, why, since = [], 0, 0
while not since or time.monotonic() - since < float(sys.argv[3]):
    s = socket.socket()
    s.settimeout(5)
    try:
        s.connect((sys.argv[1], int(sys.argv[2])))
        held.append(s)
        since = 0
    except OSError as e:
        why = errno.errorcode.get(e.errno, str(e))
        since = since or time.monotonic()
        time.sleep(0.05)
open(sys.argv[4], 'w').write('%d %s\n' % (len(held), why))
time.sleep(1000)
EOF

step "each node leases blocks, and keeps all others out of use beside what the operator keeps"
on n1 sysctl -qw net.ipv4.ip_local_reserved_ports=$THEIRS
cluster_vip
for n in n1 n2 n3; do
	wait_for "$n has source ports" 10 has_leased $n
done
wait_for "n1 uses them" 10 sh -c "! [ \"\$($CLUSTER exec n1 -- sysctl -n net.ipv4.ip_local_reserved_ports)\" = $THEIRS ]"
wait_for "n2 uses them" 10 sh -c "[ -n \"\$($CLUSTER exec n2 -- sysctl -n net.ipv4.ip_local_reserved_ports)\" ]"
wait_for "n3 uses them" 10 sh -c "[ -n \"\$($CLUSTER exec n3 -- sysctl -n net.ipv4.ip_local_reserved_ports)\" ]"
assert_eq "$(on n1 sysctl -n net.ipv4.ip_local_port_range | tr '\t' ' ')" "32768 60999" "the range"
within 40005 "$(reserved n1)" || fail "the operator's ports are not kept"
within 8080 "$(reserved n1)" || fail "the operator's ports are not kept"
ranges=$(leased n1 n1)
# The last port of a range: connections get even ones first, and one that ended keeps its port for a while.
last_of() { local r=${1%%,*}; echo "${r#*-}"; }
own=$(($(last_of "$ranges") - 1))
foreign=$(last_of "$(leased n1 n2)")
for n in n2 n3; do
	within "$own" "$(reserved $n)" || fail "$n may use a port of n1"
	within "$own" "$(leased n1 $n)" && fail "a port has two owners" || :
done
assert_eq "$(get n3 "ports :$own" '.[] | "\(.state) \(.node)"')" "leased n1"
on n2 netctl ports | has "^source ports of n1: "
assert_eq "$(get n2 sets '.[] | select(.set == "blocks").objects')" "$(get n1 sets '.[] | select(.set == "blocks").objects')"

step "an application calls from the cluster's address, in every way"
on client sh -c 'exec python3 /share/who.py 5000 5001' &
on n2 ssi-run --detach --name who python3 /share/who.py 6000 6001
wait_get n1 "ports :6001/udp" '.[0].node' n2
wait_for "the client's server listens" 10 on client sh -c "ss -tln | grep -q :5000"
VIP6=fd77::100
calls_from_vip()
{
	local how from port vip=$VIP
	[ "${3#*:}" = "$3" ] || vip=$VIP6
	on "$1" ssi-run --name "$2" python3 /share/call.py "$3" "$4" "$5" >"$TMP/calls"
	while read -r how from port; do
		assert_eq "$from" $vip "$1 to $3: $how: from"
		within "$port" "$(leased n1 "$1")" || fail "$1: $how: port $port is not of $1"
	done <"$TMP/calls"
	assert_eq "$(wc -l <"$TMP/calls")" 5 "calls"
}
for n in n1 n2 n3; do
	calls_from_vip $n call 10.77.0.250 5000 5001
done

step "... and other applications of the cluster, wherever they are"
calls_from_vip n1 inside $VIP 6000 6001
calls_from_vip n2 inside $VIP 6000 6001
calls_from_vip n3 inside 10.77.0.250 5000 5001

step "the same over IPv6: to a machine outside, to other nodes, to its own"
on n1 netctl vip add $VIP6/64
# Who lives on the new address, too, and what leads calls there
wait_get n1 "ports :6001/udp" '[.[].vip] | sort | join(" ")' "$VIP $VIP6"
leads6() { on "$1" ip -6 route get fd77::250 mark 0x535349 | has "src $VIP6 "; }
for n in n1 n2 n3; do
	wait_for "$n calls from the new address" 10 leads6 $n
done
calls_from_vip n1 outside6 fd77::250 5000 5001
calls_from_vip n2 inside6 $VIP6 6000 6001
calls_from_vip n3 inside6 $VIP6 6000 6001
on n1 ssi-run --name plain6 --source node python3 /share/call.py fd77::250 5000 5001 >"$TMP/calls"
assert_eq "$(cut -d' ' -f2 "$TMP/calls" | sort -u)" fd77::1
on n1 ip -6 route get fe80::1 oif eth0 mark 0x535349 | has "src $VIP6 " && fail "link-local neighbours are called from the address" || :
on n1 netctl vip del $VIP6
for n in n1 n2 n3; do
	wait_for "$n has no rule of IPv6 for it" 5 sh -c "! $CLUSTER exec $n -- ip -6 rule | grep -q 'proto 77'"
	on $n ip -6 route show table 7948 2>/dev/null | has . && fail "routes are left on $n" || :
done

step "--source node: from the node's address; the rest of the host, too"
on n1 ssi-run --name plain --source node python3 /share/call.py 10.77.0.250 5000 5001 >"$TMP/calls"
assert_eq "$(cut -d' ' -f2 "$TMP/calls" | sort -u)" 10.77.0.1
on n1 python3 /share/call.py 10.77.0.250 5000 5001 >"$TMP/calls"
assert_eq "$(cut -d' ' -f2 "$TMP/calls" | sort -u)" 10.77.0.1
assert_eq "$(on n1 ss -Htn src $VIP dport = :7946 | wc -l)" 0 "netd's own connections from the cluster's address"
rc=0
on n1 ssi-run --source nowhere true 2>"$TMP/err" || rc=$?
assert_eq $rc 125
has "use vip or node" <"$TMP/err"

step "a host's own sockets at a source port are not reached through the address"
on n1 nc -lk 0.0.0.0 "$own" >/dev/null &
on n1 socat "UDP-RECVFROM:$((own + 1)),fork" EXEC:cat &
wait_for "they listen" 5 on n1 sh -c "ss -tuln | grep -c ':$own \|:$((own + 1)) ' | grep -q 2"
assert_fails 1 on client nc -z -w 2 $VIP "$own"
assert_eq "$(on client sh -c "echo x | nc -u -w 1 $VIP $((own + 1))")" "" "the answer of a host's socket"

step "a port of another node's block is refused, one of an own block is not"
rc=0
on n1 ssi-run --name thief nc -l 0.0.0.0 "$foreign" 2>"$TMP/err" || rc=$?
assert_eq $rc 1
has -i 'in use' <"$TMP/err"
assert_fails 1 on n1 netctl port add ":$foreign" node n1 2>"$TMP/err"
has "source port of node n2" <"$TMP/err"
on n2 ssi-run --detach --name own nc -lk 0.0.0.0 "$foreign"
wait_get n1 "ports :$foreign" '[.[] | select(.state == "owned").node] | join(" ")' n2
wait_for "it answers" 5 on client nc -z -w 2 $VIP "$foreign"
on n2 netctl signal own KILL
wait_get n1 "ports :$foreign" '.[] | .state' leased

step "another block at three quarters, a fair share at most, then EADDRNOTAVAIL and a warning"
assert_fails 1 on n1 netctl set source_block 40000
on n1 netctl set source_block 64
for n in n1 n2 n3; do
	on $n sysctl -qw net.ipv4.ip_local_port_range="45056 45631" # nine times 64
done
assert_fails 1 on n1 netctl set source_block 1024 2>"$TMP/err"
has "larger than the range of this node, 45056 to 45631" <"$TMP/err"
for n in n1 n2 n3; do
	wait_for "$n has a share inside" 20 leased_share $n
done
# What a connection still uses stays until that is over.
few_outside() { [ "$(count_ports "$(leased n2 n1)" 32768 60999)" -lt $(("$(count_ports "$ranges" 32768 60999)" / 2)) ]; }
wait_for "n1 gave back what is outside" 20 few_outside
on n1 ssi-run --detach --name fill python3 /share/fill.py 10.77.0.250 5000 2 /share/filled
wait_for "n1 has its fair share" 20 leased_is n1 192
wait_for "the program gave up" 30 test -s "$NETDIR/share/filled"
read -r n why <"$NETDIR/share/filled"
assert_eq "$why" EADDRNOTAVAIL
[ "$n" -ge 180 ] && [ "$n" -le 192 ] || fail "$n connections with 192 source ports"
wait_get n1 status '[.[0].problems[] | select(.problem | test("source ports of this node are in use"))] | length' 1
get n1 status '.[0].problems[].problem'
assert_eq "$(get n2 status '[.[0].problems[] | select(.problem | test("source ports"))] | length')" 0

step "a dead node's blocks are given out again"
cluster kill n3
wait_get n1 "ports --node n3" length 0
wait_for "n1 has more" 10 leased_is n1 256
cluster start n3
wait_for "n3 has some again" 20 has_leased n3

step "others change the list: theirs is kept, ours put back"
on n2 sysctl -qw net.ipv4.ip_local_reserved_ports=9090
wait_for "both stand" 5 sh -c "$CLUSTER exec n2 -- sysctl -n net.ipv4.ip_local_reserved_ports | grep -q '^9090,45'"

step "netd may come and go; at the end all is as it was"
before=$(reserved n1)
cluster netd n1 stop
assert_eq "$(reserved n1)" "$before" "without netd"
cluster netd n1 start
wait_get n1 status '.[0].quorum' true 20
# A block that is about to be given back is closed first, and opened again when somebody is in it.
all_ours()
{
	local port
	kept=$(reserved n1)
	for port in $(on n1 ss -Htn src $VIP | awk '{ sub(/.*:/, "", $4); print $4 }'); do
		! within "$port" "$kept" || { echo "port $port is in use; before: $before, now: $kept, $(leased n1 n1)" >"$TMP/foreign"; return 1; }
	done
}
(wait_for "all ports in use are n1's" 10 all_ours) || fail "$(cat "$TMP/foreign")"
kept=$(reserved n1)
within 40005 "$kept" || fail "the operator's ports are not kept"
on n1 netctl signal fill KILL
cluster netd n1 kill
on n1 netd --cleanup | has "source ports"
assert_eq "$(reserved n1)" $THEIRS "after --cleanup"
on n1 ip rule | has 'proto 77' && fail "a rule is left" || :
on n2 netctl vip del $VIP
wait_for "n2 has the operator's list again" 5 sh -c "[ \"\$($CLUSTER exec n2 -- sysctl -n net.ipv4.ip_local_reserved_ports)\" = 9090 ]"
wait_for "no rule is left" 5 sh -c "! $CLUSTER exec n2 -- ip rule | grep -q 'proto 77'"
wait_get n2 sets '.[] | select(.set == "blocks").objects' 0
