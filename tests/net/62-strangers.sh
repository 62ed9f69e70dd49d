#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Who has no key gets nothing and stops nothing: garbage, half of a handshake and silence, a recorded conversation said
# again, an expired token, ten thousand connections. One line in the log each, memory and descriptors bounded.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_form 2
on n1 netctl set lease_ms 4000
tmpdir
log1=$NETDIR/log/n1/netd.log
netd_pid() { on "$1" pgrep -o -x netd; }
fds() { on "$1" sh -c "ls /proc/$(netd_pid "$1")/fd | wc -l"; }
rss_kb() { on "$1" sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$(netd_pid "$1")/status"; }
lines() { grep -c "10.77.0.250.*$1" "$log1" || :; }
fenced() { cat "$NETDIR"/log/n[123]/netd.log | grep -c -e 'no lease' -e 'declared dead' || :; }

step "a connection that only listens notices, too, when the other end is gone"
unguarded() { on n1 ss -tnoH state established '( sport = :7946 or dport = :7946 )' | grep -vc timer: || :; }
assert_eq "$(unguarded)" 0 "connections that nobody looks after"

step "garbage is hung up on, and told of once"
cat >"$NETDIR/share/garbage.py" <<'EOF2'
import os, socket
for i in range(60):
    s = socket.create_connection(("10.77.0.1", 7946))
    s.settimeout(5)
    s.sendall(b"\x7f\xff" + os.urandom(998)) # no length that it would wait for
    try:
        while s.recv(4096):
            pass
    except ConnectionError:
        pass # with what it had not read
    s.close()
EOF2
on client timeout 300 python3 /share/garbage.py
assert_eq "$(lines 'no message of netssi')" 1 "lines for 60 times garbage"
wait_for "the count" 15 grep -q '10.77.0.250: .*59 times more in 10 s' "$log1"

step "half of a handshake and then silence is timed out"
cat >"$NETDIR/share/half.py" <<'EOF2'
import socket, time
s = socket.create_connection(("10.77.0.1", 7946))
s.settimeout(30)
s.sendall(bytes.fromhex("1603010200010001fc0303"))
start = time.monotonic()
while s.recv(4096):
    pass
print("ended after", time.monotonic() - start)
assert 4 < time.monotonic() - start < 20
EOF2
on client python3 /share/half.py
assert_eq "$(lines 'did not say in time')" 1

step "a recorded conversation that is said again"
cat >"$NETDIR/share/proxy.py" <<'EOF2'
# Between n3 and n1: keeps what n3 said on each connection.
import os, select, socket
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("10.77.0.250", 7946))
listener.listen()
print("proxy", flush=True)
n = 0
while True:
    a, _ = listener.accept()
    b = socket.create_connection(("10.77.0.1", 7946))
    said = open("/share/said.%d" % n, "wb")
    heard = 0
    n += 1
    ends = {a: b, b: a}
    while ends:
        for s in select.select(list(ends), [], [])[0]:
            data = s.recv(65536)
            if not data:
                for e in (a, b): e.close()
                ends = {}
                break
            if s is a:
                said.write(data); said.flush()
            else:
                heard += len(data)
            ends[s].sendall(data)
    said.close()
    open("/share/heard.%d" % (n - 1), "w").write(str(heard))
EOF2
cat >"$NETDIR/share/replay.py" <<'EOF2'
# Says all of it again; prints how much the node answered beyond the handshake's first flight, at most.
import socket, sys
data = open(sys.argv[1], "rb").read()
s = socket.create_connection(("10.77.0.1", 7946))
s.settimeout(8)
got = b""
try:
    s.sendall(data)
    while True:
        part = s.recv(65536)
        if not part:
            break
        got += part
except (ConnectionError, BrokenPipeError):
    pass
sys.stdout.write("%d %s\n" % (len(got), "answered" if b"cluster" in got else "nothing"))
EOF2
record_join()
{
	on client rm -f /share/said.* /share/heard.* 2>/dev/null || :
	on client python3 /share/proxy.py >"$TMP/proxy" 2>&1 &
	wait_for "the proxy" 5 grep -q proxy "$TMP/proxy"
	"$@"
	on client pkill -x python3 || :
	wait
	[ -s "$NETDIR/share/said.0" ] || fail "nothing was recorded"
}
join_by_proxy() { on n1 netctl token | on n3 netctl join 10.77.0.250 --token-file -; }
record_join join_by_proxy
wait_get n1 nodes '[.[] | select(.state == "up")] | length' 3 20
before=$(get n1 nodes '[.[] | "\(.node) \(.id) \(.state) \(.incarnation)"] | join(",")')
for f in "$NETDIR"/share/said.*; do
	answer=$(on client python3 /share/replay.py "/share/${f##*/}")
	whole=$(cat "${f/said/heard}" 2>/dev/null || echo 0)
	echo "${f##*/}: $answer bytes again, $whole at first"
	[ "${answer%% *}" -lt "$whole" ] || [ "$whole" = 0 ] || fail "the conversation was answered again"
done
assert_eq "$(get n1 nodes '[.[] | "\(.node) \(.id) \(.state) \(.incarnation)"] | join(",")')" "$before" "nodes"
[ "$(lines 'wrong key or token')" -ge 1 ] || fail "nothing in the log of n1"

step "a token that has expired"
on n3 netctl leave
on n1 netctl token --ttl 1s >"$TMP/token"
end=$((EPOCHSECONDS + 2))
until [ $EPOCHSECONDS -ge $end ]; do on n3 sleep 0.2; done
on n3 sh -c 'cat >/tmp/token' <"$TMP/token"
assert_fails 1 on n3 netctl join 10.77.0.1 --token-file /tmp/token 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'refuses this key or token.*netctl token'
grep -q '10.77.0.3: refused, a token that has expired' "$log1"
! grep -q "$(sed 's/.*:\([0-9a-f]*\)@.*/\1/' "$TMP/token")" "$log1" || fail "the secret of the token is in the log"

step "a peer that hangs up, or has a fault of its own, is not one that refuses the key"
cat >"$NETDIR/share/hangup.py" <<'EOF2'
import socket
l = socket.socket()
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind(("10.77.0.250", 7946))
l.listen()
print("ready", flush=True)
while True:
    s, _ = l.accept()
    s.recv(65536)
    s.close()
    s, _ = l.accept()
    s.recv(65536)
    s.sendall(bytes.fromhex("15030300020250")) # TLS: internal error
    s.close()
EOF2
on client timeout 300 python3 /share/hangup.py >"$TMP/hangup" &
wait_for "the listener" 5 grep -q ready "$TMP/hangup"
on n1 netctl token >"$TMP/token"
on n3 sh -c 'cat >/tmp/token' <"$TMP/token"
assert_fails 1 on n3 netctl join 10.77.0.250 --token-file /tmp/token 2>"$TMP/err"
cat "$TMP/err"
assert_match "$(cat "$TMP/err")" 'hung up before it answered'
assert_fails 1 on n3 netctl join 10.77.0.250 --token-file /tmp/token 2>"$TMP/err"
cat "$TMP/err"
assert_match "$(cat "$TMP/err")" 'no netd'
on client pkill -x python3
wait

step "ten thousand connections to the cluster's port"
cat >"$NETDIR/share/flood.py" <<'EOF2'
import resource, select, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (12000, 12000))
held, start = [], time.monotonic()
for i in range(10000):
    s = socket.socket()
    s.setblocking(False)
    # from addresses of its own: no limit for one address helps
    s.bind(("10.77.0.%d" % (200 + i % int(sys.argv[1])), 0))
    s.connect_ex(("10.77.0.1", 7946))
    held.append(s)
    if i % 200 == 199:
        wait = select.poll()
        wait.register(held[-1], select.POLLOUT)
        wait.poll(1000)
print("opened %d in %.1f s" % (len(held), time.monotonic() - start), flush=True)
time.sleep(float(sys.argv[2]))
EOF2
for i in $(seq 200 249); do on client ip addr add 10.77.0.$i/24 dev eth0 2>/dev/null || :; done
for addresses in 1 50; do
	before_kb=$(rss_kb n1) before_fds=$(fds n1)
	: >"$TMP/flood"
	on client timeout 500 python3 /share/flood.py $addresses 3 >"$TMP/flood" &
	flood=$!
	# a member comes in and goes meanwhile
	on n3 netctl join 10.77.0.1 --token-file /tmp/token
	most_fds=0 most_kb=0
	until grep -q opened "$TMP/flood"; do
		kill -0 $flood 2>/dev/null || fail "the flood ended early"
		now=$(fds n1); [ "$now" -le $most_fds ] || most_fds=$now
		now=$(rss_kb n1); [ "$now" -le $most_kb ] || most_kb=$now
	done
	now=$(fds n1); [ "$now" -le $most_fds ] || most_fds=$now
	now=$(rss_kb n1); [ "$now" -le $most_kb ] || most_kb=$now
	wait_get n1 nodes '[.[] | select(.state == "up")] | length' 3 20
	assert timeout 20 "$CLUSTER" exec n1 -- netctl status --check
	cat "$TMP/flood"
	echo "from $addresses addresses: descriptors $before_fds -> $most_fds, memory $before_kb -> $most_kb KiB"
	# 16 for an address, 128 in all, and a few for the member that comes in
	[ $most_fds -lt $((before_fds + (addresses == 1 ? 48 : 160))) ] || fail "$most_fds descriptors"
	[ $most_kb -lt $((before_kb + 32768)) ] || fail "$most_kb KiB"
	wait
	on n3 netctl leave
	assert_eq "$(fenced)" 0 "lost leases"
done
[ "$(grep -c 'too many connections' "$log1")" -lt 150 ] || fail "the log is flooded: $(grep -c 'too many' "$log1") lines"
