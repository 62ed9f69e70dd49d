#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What a program has not read when it is moved is there afterwards, in the order in which it came: datagrams of both
# families, from several peers, empty and large ones, in sockets that are connected and that are not.
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
known["any"].setsockopt(socket.IPPROTO_IPV6, 49, 1) # RECVPKTINFO
control = socket.socket()
control.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
control.bind(("0.0.0.0", 7001))
control.listen(4)
c, _ = control.accept()
f = c.makefile("rw")
for line in f:
    word = line.split()
    if word[0] == "connect":
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
coproc CONTROL { on client socat - tcp:$VIP:7001; }
ask()
{
	local line
	echo "$*" >&"${CONTROL[1]}"
	while read -r -t 60 line <&"${CONTROL[0]}" && [ "$line" != . ]; do
		echo "$line"
	done
	[ "$line" = . ] || fail "no answer to '$*': $(on n1 netctl logs late)"
}
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

step "a move that comes to nothing leaves them where they were"
at=$(get n3 apps '.[0].node')
to=n3
[ "$at" != n3 ] || to=n1
on $to sh -c 'printf "%s\n" "#!/bin/sh" "exit 1" >/etc/netssi/criu; chmod +x /etc/netssi/criu; echo "criu = /etc/netssi/criu" >/etc/netssi/netd.conf'
cluster netd $to stop
cluster netd $to start
wait_get $to status '.[0].state' up
wait_get $to vips '[.[].nodes[] | select(.node == "'$to'") | .state] | unique | join(" ")' up
send client $VIP 7002 stays twice
wait_for "they wait" 5 queued_on "$at" 7002
assert_fails 1 on n2 netctl migrate late $to
read_all four >"$TMP/four.line"
assert_eq "$(cat "$TMP/four.line")" "10.77.0.250 [stays] 10.77.0.250 [twice] "
