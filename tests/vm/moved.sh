#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 2400
# TCP connections that move through the kernel module: the tests of moves that tests/net has for CRIU's way, and what
# becomes of a connection when the module refuses it, here or there, or is not to be used. MOVED="" for the latter only.
CLUSTER=$TEST_TOP/tests/vm/cluster
. "${TEST_TOP:?}/tests/net/lib.sh"
NETDIR=$TEST_O/vm
share=$NETDIR/share
cp "$TEST_O/bin/count-client" "$share/"
at_exit "rm -f '$share'/{count-client,file,sent,read-*,probe,server,echo,talk,take}"
on client ln -sf /share/count-client /usr/local/bin/
tmpdir

for test in ${MOVED-50-move 59-options 59-closed}; do
	step "$test"
	FULL='' CLUSTER=$CLUSTER NETDIR=$NETDIR "$TEST_TOP/tests/net/$test.sh" | tee "$TMP/out"
	has ssi_core <"$TMP/out" || fail "$test: nothing went by ssi_core"
	! has -i 'by criu\|_by": *"criu' <"$TMP/out" || fail "$test: something went by CRIU"
done

step "a server and a client that can be told to send urgent data"
cluster_up
cluster_vip
cat >"$share/echo" <<'END_ECHO'
import select, socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", 7001))
s.listen(8)
c, _ = s.accept()
while True:
    select.select([c], [], []) # what is urgent waits until more comes
    d = c.recv(4096)
    if not d: break
    if d.endswith(b"\n"): c.sendall(d)
END_ECHO
cat >"$share/talk" <<'END_TALK'
import socket, sys
s = socket.create_connection((sys.argv[1], 7001), 60)
print(s.getsockname()[1], flush=True)
f = s.makefile("r")
for line in sys.stdin:
    if line == "urgent\n":
        s.send(b"!", socket.MSG_OOB)
        print("sent", flush=True)
    else:
        s.sendall(line.encode())
        print(f.readline(), end="", flush=True)
END_TALK
# The connection of a client's port, made here, without a packet: nobody else can have it on this node.
cat >"$share/take" <<'END_TAKE'
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, 19, 1)
s.bind((sys.argv[1], 7001))
s.connect(("10.77.0.250", int(sys.argv[2])))
print("taken", flush=True)
time.sleep(1000)
END_TAKE
on n1 ssi-run --detach --name echo python3 /share/echo
wait_get n3 "ports :7001" length 1 20
coproc TALK { on client python3 -u /share/talk $VIP; }
read -r -t 60 port <&"${TALK[0]}" || fail "no connection"
said=0
says() { echo "$1" >&"${TALK[1]}"; read -r -t 60 answer <&"${TALK[0]}" || fail "no answer to '$1'"; }
goes_on() { says "line $((said += 1))"; assert_eq "$answer" "line $said"; }
is_on()
{
	wait_get n2 "ports :7001" '.[0] | "\(.node) \(.state)"' "$1 owned" 20
	wait_get n2 apps '.[0] | "\(.node) \(.state)"' "$1 running" 20
	wait_get n2 moves length 0 20
	assert_eq "$(on n1 pgrep -c -f ^python3./share/echo || :) $(on n3 pgrep -c -f ^python3./share/echo || :)" "$2" "copies on n1, n3"
	for node in n1 n3; do
		assert_eq "$(on $node sh -c 'ls /run/netssi/images 2>/dev/null | wc -l')" 0 "images on $node"
	done
	goes_on
}
is_exposed() { wait_get "$1" vips ".[0].nodes[] | select(.node == \"$1\") | .state" up 20; }
# move NODE: its lines in $TMP/out, even when it fails
move() { on n2 netctl migrate echo "$1" >"$TMP/out" 2>&1; }
goes_on

step "what the module would refuse goes by CRIU"
says urgent
urgent_is_seen() { on n2 netctl migrate echo n3 --dry-run | has 'by CRIU: .*has urgent data'; }
wait_for "the urgent byte" 20 urgent_is_seen
goes_on
on n2 netctl migrate echo n3 --dry-run | has 'by ssi_core$'

step "what it refuses in the freeze runs on where it was"
# shellcheck disable=SC2016
on n1 sh -c 'printf "%s\n" "#!/bin/sh" "while [ -e /run/shut ]; do sleep 0.05; done" "exec criu \"\$@\"" >/etc/netssi/criu
	chmod +x /etc/netssi/criu; echo "criu = /etc/netssi/criu" >/etc/netssi/netd.conf; systemctl restart netd'
is_exposed n1
on n1 touch /run/shut
on n2 netctl migrate echo n3 >"$TMP/out" 2>&1 &
move=$!
gated() { on n1 pgrep -f 'netssi/criu swrk' >/dev/null; }
wait_for "CRIU at its gate" 20 gated
says urgent
on n1 rm /run/shut
wait $move && fail "that move worked?"
has 'not moved, it runs on where it was: .*has urgent data' <"$TMP/out" || fail "$(cat "$TMP/out")"
is_on n1 "1 0"

step "what cannot be made on the target runs on where it was"
: >"$TMP/take"
on n3 python3 -u /share/take $VIP "$port" >"$TMP/take" 2>&1 &
taken() { has taken <"$TMP/take"; }
wait_for "the connection is taken" 20 taken
move n3 && fail "that move worked?"
has 'not moved, it runs on where it was: .*the connection is here already' <"$TMP/out" || fail "$(cat "$TMP/out")"
on n3 pkill -KILL -f /share/take
is_on n1 "1 0"

step "it moves"
move n3 || fail "$(cat "$TMP/out")"
has 'by ssi_core' <"$TMP/out"
is_on n3 "0 1"

step "netd.conf can do without, on either end"
on n1 sh -c 'echo "connections = criu" >/etc/netssi/netd.conf; systemctl restart netd'
is_exposed n1
on n2 netctl migrate echo n1 --dry-run | has 'by CRIU: n1 has no module ssi_core, or is not to use it'
move n1 || fail "$(cat "$TMP/out")"
has 'by CRIU' <"$TMP/out"
is_on n1 "1 0"
on n2 netctl migrate echo n3 --dry-run | has 'by CRIU: netd.conf says so'
