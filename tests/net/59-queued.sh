#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What a program has not taken when it is moved is there afterwards: datagrams in the order in which they came, of both
# families, from several peers, empty and large ones, in sockets that are connected and that are not; and connections
# that wait for accept(), with what their clients have sent.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
VIP6=fd77::100
on n1 netctl vip add $VIP6/64
tmpdir

# Reads nothing before it is told to on its control connection; then tells all there is, with where it came from.
cat >"$NETDIR/share/late" <<'END_LATE'
import hashlib, socket
known = {}
for name, family, vip, port in (("four", socket.AF_INET, "10.77.0.100", 7002), ("six", socket.AF_INET6, "fd77::100", 7002),
                                ("any", socket.AF_INET6, "::", 7003)):
    u = known[name] = socket.socket(family, socket.SOCK_DGRAM)
    u.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    u.bind((vip, port))
    u.setblocking(False)
def listener(family, address, port):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port))
    s.listen(64)
    return s
known["four-listen"] = listener(socket.AF_INET, "10.77.0.100", 7005)
known["any-listen"] = listener(socket.AF_INET6, "::", 7006)
known["any"].setsockopt(socket.IPPROTO_IPV6, 49, 1) # RECVPKTINFO
control = socket.socket()
control.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
control.bind(("0.0.0.0", 7001))
control.listen(4)
c, _ = control.accept()
f = c.makefile("rw")
for line in f:
    word = line.split()
    if word[0] == "accept": # each says how many bytes it sends, and is told which came, and is read to its end
        for i in range(int(word[2])):
            s, peer = known[word[1]].accept()
            g = s.makefile("rwb")
            data = g.read(int(g.readline()))
            g.write(("%d %s\n" % (len(data), hashlib.md5(data).hexdigest())).encode())
            g.flush()
            g.write(b"end\n" if g.read() == b"" else b"more\n")
            g.close()
            s.close()
    elif word[0] == "connect":
        u = known["peer"] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        u.bind(("10.77.0.100", 7004))
        u.connect(("10.77.0.250", int(word[1])))
        u.setblocking(False)
    else:
        s = known[word[1]]
        while True:
            try:
                data, control, flags, peer = s.recvmsg(65536, 256)
            except BlockingIOError:
                break
            at = [socket.inet_ntop(socket.AF_INET6, d[:16]) for level, kind, d in control if (level, kind) == (41, 50)]
            text = data.decode() if len(data) < 40 else "%d %s" % (len(data), hashlib.md5(data).hexdigest())
            f.write(" ".join([peer[0], *at, "[%s]" % text]) + "\n")
    f.write(".\n")
    f.flush()
END_LATE
on n1 ssi-run --detach --name late python3 /share/late
wait_get n3 "ports :7001" length 1
talk_to late 7001
# All in one line; a pipe of bash has no fds of a coprocess.
read_all() { ask read "$1" >"$TMP/$1"; tr '\n' ' ' <"$TMP/$1"; }
# send FROM-NODE TO PORT DATA...: one datagram each, in order, from one socket
send()
{
	on "$1" python3 -c 'import socket, sys
to, port = sys.argv[1:3]
s = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
if port == "7004": s.bind(("0.0.0.0", 5004))
for data in sys.argv[3:]: s.sendto(b"x" * int(data[1:]) if data[:1] == "*" else data.encode(), (to, int(port)))' "${@:2}"
}
# client_begin NAME ADDRESS PORT BYTES [later|half]: sends at once, or when told to; says that this was all before or after the answer
client_begin()
{
	on client python3 -c 'import os, socket, sys, time, hashlib
name, to, port, n, how = sys.argv[1:]
s = socket.create_connection((to, int(port)), 20)
if how == "later":
    open("/tmp/" + name).read()
data = os.urandom(int(n))
s.sendall(b"%s\n" % n.encode() + data)
if how == "half":
    s.shutdown(socket.SHUT_WR)
s.settimeout(60)
f = s.makefile("r")
if f.readline() != "%s %s\n" % (n, hashlib.md5(data).hexdigest()):
    sys.exit("wrong answer")
if how != "half":
    s.shutdown(socket.SHUT_WR)
if f.read() != "end\n":
    sys.exit("wrong end")
print("all well", "retransmitted", __import__("struct").unpack_from("I", s.getsockopt(6, 11, 232), 100)[0])' "$1" "$2" "$3" "$4" "${5:-}" >"$TMP/$1" 2>&1 &
	client[$1]=$!
}
client_end() { wait "${client[$1]}" || fail "$1: $(cat "$TMP/$1")"; echo "$1: $(cat "$TMP/$1")"; }
declare -A client
waiting() { [ "$(on "$1" ss -Htln "sport = :$2" | awk '{print $2}')" = "$3" ]; }
arrived() { [ "$(on "$1" ss -Htn "sport = :$2" | awk '{n += $2} END {print n + 0}')" -ge "$3" ]; }
queued() { on "$1" ss -Huan "sport = :$2" | awk '{n += $2} END {print n + 0}'; }
queued_on() { [ "$(queued "$1" "$2")" -gt 0 ]; }

ask connect 5004
wait_get n3 "ports :7004" length 1
wait_get n3 "ports :7003/udp" length 2
nodes=n2
! full || nodes='n2 n3 n1'
for node in $nodes; do
	step "to $node, with datagrams in four sockets"
	send client $VIP 7002 one two '' three '*3000' '*60000' last
	send n3 $VIP 7002 other
	send client $VIP6 7002 six-one '' six-two '*20000' six-last
	send client $VIP 7003 any-four
	send client $VIP6 7003 any-six
	send client $VIP 7004 connected again
	for port in 7002 7003 7004; do
		wait_for "datagrams wait on port $port" 5 queued_on "$(get n3 apps '.[0].node')" $port
	done
	on n1 netctl migrate late "$node"
	assert_eq "$(get n3 apps '.[0].node')" "$node"
	send client $VIP 7002 after
	read_all four >"$TMP/four.line"
	assert_eq "$(sed 's/10.77.0.250 //' "$TMP/four" | grep -v 10.77.0.3 | tr '\n' ' ')" \
		"[one] [two] [] [three] [3000 $(head -c 3000 /dev/zero | tr '\0' x | md5sum | cut -d' ' -f1)] [60000 $(head -c 60000 /dev/zero | tr '\0' x | md5sum | cut -d' ' -f1)] [last] [after] "
	assert_eq "$(grep -c '^10.77.0.3 \[other\]' "$TMP/four")" 1
	for name in six any peer; do
		read_all $name >"$TMP/$name.line"
	done
	assert_eq "$(cat "$TMP/six.line")" "fd77::250 [six-one] fd77::250 [] fd77::250 [six-two] fd77::250 [20000 $(head -c 20000 /dev/zero | tr '\0' x | md5sum | cut -d' ' -f1)] fd77::250 [six-last] "
	assert_eq "$(cat "$TMP/any.line")" "::ffff:10.77.0.250 ::ffff:$VIP [any-four] fd77::250 $VIP6 [any-six] "
	assert_eq "$(cat "$TMP/peer.line")" "10.77.0.250 [connected] 10.77.0.250 [again] "
done

backlog()
{
	at=$(get n3 apps '.[0].node')
	client_begin c-small $VIP 7005 10
	client_begin c-later $VIP 7005 20 later
	client_begin c-half $VIP 7005 30000 half
	client_begin c-more $VIP 7005 400000
	client_begin c-six $VIP6 7006 5000
	client_begin c-map $VIP 7006 6000 half
	wait_for "connections wait" 5 waiting "$at" 7005 4
	wait_for "connections wait" 5 waiting "$at" 7006 2
	wait_for "and what they sent" 5 arrived "$at" 7005 60000
	wait_for "and what they sent" 5 arrived "$at" 7006 11000
}
served()
{
	on client sh -c 'echo go >/tmp/c-later'
	ask accept four-listen 4 >/dev/null
	ask accept any-listen 2 >/dev/null
	for name in c-small c-later c-half c-more c-six c-map; do
		client_end $name
	done
}
on client mkfifo /tmp/c-later
for node in $nodes; do
	[ "$node" != "$(get n3 apps '.[0].node')" ] || node=n3
	step "to $node, with connections that nobody accepted"
	backlog
	on n1 netctl migrate late "$node"
	wait_for "they wait there" 5 waiting "$node" 7005 4
	wait_for "they wait there" 5 waiting "$node" 7006 2
	served
done

step "handshakes that are not confirmed: the clients are there at once, or with one SYN more"
half_open() { [ "$(on "$1" ss -Htan state syn-recv "( sport = :7005 or sport = :7006 )" | wc -l)" = "$2" ]; }
at=$(get n3 apps '.[0].node')
to=n3
[ "$at" != n3 ] || to=n2
on client sh -c 'nft add table inet t; nft add chain inet t o "{ type filter hook output priority 0; }"
	nft add rule inet t o tcp dport { 7005, 7006 } tcp flags "&" syn == 0 drop'
client_begin c-small $VIP 7005 10
client_begin c-later $VIP 7005 20 later
client_begin c-six $VIP6 7006 5000
client_begin c-map $VIP 7006 6000 half
wait_for "four handshakes" 5 half_open "$at" 4
on n1 netctl migrate late "$to"
on client nft delete table inet t
wait_for "they are there" 5 waiting "$to" 7005 2
wait_for "they are there" 5 waiting "$to" 7006 2
on client sh -c 'echo go >/tmp/c-later'
ask accept four-listen 2 >/dev/null
ask accept any-listen 2 >/dev/null
for name in c-small c-later c-six c-map; do
	client_end $name
done

step "a kernel that may not make connections: it does not move, and they are served where they are"
at=$(get n3 apps '.[0].node')
to=n3
[ "$at" != n3 ] || to=n2
on $to sysctl -qw net.ipv4.tcp_syncookies=0
backlog
assert_fails 1 on n1 netctl migrate late "$to" 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'does not accept connections'
on $to sysctl -qw net.ipv4.tcp_syncookies=1
served

step "a move that comes to nothing leaves them where they were"
at=$(get n3 apps '.[0].node')
to=n3
[ "$at" != n3 ] || to=n1
on $to sh -c 'mkdir -p /run/netssi/images; mount -t tmpfs -o size=100k none /run/netssi/images'
send client $VIP 7002 stays twice
wait_for "they wait" 5 queued_on "$at" 7002
backlog
assert_fails 1 on n2 netctl migrate late $to
on $to umount -l /run/netssi/images
read_all four >"$TMP/four.line"
assert_eq "$(cat "$TMP/four.line")" "10.77.0.250 [stays] 10.77.0.250 [twice] "
served
