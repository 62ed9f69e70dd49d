#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What nodes say to each other, checked where it can be written by hand: in a cluster in clear text. It says of itself
# that it is one. The same code reads what comes out of TLS.
export NETD_ARGS=--insecure
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 3
on n1 netctl init
on n2 netctl join 10.77.0.1
wait_get n1 nodes '[.[] | select(.state == "up")] | length' 2 20
tmpdir
log1=$NETDIR/log/n1/netd.log

step "clear text is shown"
on n1 netctl nodes | has 'clear text'
assert_eq "$(get n1 nodes '[.[].secure] | unique | join(" ")')" false
assert_eq "$(get n1 status '.[0].secure')" false
{ on n1 netctl status || :; } | has 'neither authenticated nor encrypted'
assert_fails 1 on n1 netctl token 2>/dev/null
assert_fails 1 on n1 netctl key rotate 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'clear text has no key'

step "a netd that wants TLS does not talk to it, nor it to that one"
NETD_ARGS='' cluster netd n3 stop
NETD_ARGS='' cluster netd n3 start
on n3 sh -c 'head -c 32 /dev/urandom | od -An -v -tx1 | tr -d " \n" >/tmp/key'
assert_fails 1 on n3 netctl join 10.77.0.1 --key-file /tmp/key 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'no netd, or one in clear text|hung up before it answered'

cat >"$NETDIR/share/say.py" <<'EOF2'
import json, os, socket, struct, sys, time
cluster = sys.argv[1]
def hello(**fields):
    text = json.dumps(dict({"v": 1, "cluster": cluster, "purpose": "peer", "raft_id": sys.argv[2], "address": "10.77.0.2:7946",
                            "node": 2}, **fields)).encode()
    return struct.pack("<I", len(text)) + text
def frame(type, payload=b"", version=1, pad=0, length=None):
    length = len(payload) if length is None else length
    return struct.pack("<IBBHQ", length, type, version, pad, 7) + payload + b"\0" * (-len(payload) % 8)
def say(*parts, limit=20):
    s = socket.create_connection(("10.77.0.1", 7946))
    s.settimeout(limit)
    got, start = b"", time.monotonic()
    try:
        for part in parts:
            s.sendall(part)
        while True:
            data = s.recv(65536)
            if not data:
                break
            got += data
    except ConnectionError:
        pass
    except socket.timeout:
        return "open", got
    return "closed", got

def expect(what, result, words=b""):
    state, got = result
    print("%-48s %s, %d bytes" % (what, state, len(got)), flush=True)
    assert state == "closed", what
    assert words in got, (what, got)

expect("a hello of 4 GB", say(struct.pack("<I", 0xffffffff)))
expect("a hello of 65537 bytes", say(struct.pack("<I", 65537) + b"{"))
expect("a hello that is no JSON", say(struct.pack("<I", 4) + b"abcd"))
expect("a hello that is no object", say(struct.pack("<I", 2) + b"[]"))
expect("a hello nested 30,000 deep", say(struct.pack("<I", 60000) + b"[" * 30000 + b"]" * 30000))
expect("a key twice in a hello", say(struct.pack("<I", 15) + b'{"v":1,"v":1}  '))
expect("another version", say(hello(v=99)), b"neighbouring versions")
expect("a version that is no number", say(hello(v="one")), b"neighbouring versions")
expect("no purpose", say(hello(purpose=None)), b"error")
expect("an unknown purpose", say(hello(purpose="frobnicate")), b"error")
expect("another cluster", say(hello(cluster="0" * 32)), b"another cluster")
expect("a node number out of range", say(hello(node=4000000000)), b"bad node number")
expect("a negative node number", say(hello(node=-1)), b"bad node number")
expect("the number of the node itself", say(hello(node=1)), b"bad node number")
expect("a stream without a name", say(hello(purpose="stream")), b"no such stream")
expect("a join without an entry", say(hello(purpose="join")), b"cannot be read")
expect("a join with half an entry", say(hello(purpose="join", info="00ff")), b"cannot be read")
expect("half a hello, then silence", say(hello()[:40]))
expect("a frame of 4 GB", say(hello(), frame(1, length=0xffffffff)))
expect("a frame of 3 MB", say(hello(), frame(1, length=3 << 20)))
expect("a frame of another version", say(hello(), frame(1, version=9)))
expect("a frame with padding that is not zero", say(hello(), frame(1, pad=1)))
expect("half a frame, then silence", say(hello(), frame(1, b"x" * 64)[:30]))
# What is well-formed but means nothing is passed over.
junk = [frame(t, os.urandom(n)) for t in range(1, 60) for n in (0, 1, 7, 8, 9, 40, 4000)]
print("junk of all types and lengths", say(hello(), *junk, limit=0.5)[0])
EOF2
step "messages that are wrong in every field"
id=$(on n1 sh -c 'sed -n "s/.*\"cluster\": \"\(.*\)\".*/\1/p" /var/lib/netssi/identity')
raft=$(on n2 cat /var/lib/netssi/raft/id)
assert on client timeout 200 python3 /share/say.py "$id" "$raft"
assert_eq "$(get n1 nodes '[.[] | select(.state == "up")] | length')" 2 "nodes that are up"
assert_eq "$(get n1 nodes '[.[].node] | join(" ")')" "n1 n2"
[ "$(grep -c -e 10.77.0.250 -e 'n2 sends' -e 'node 2' "$log1")" -lt 40 ] || fail "the log is flooded"
on n1 netctl sets >/dev/null
! grep -q -i -e sanitizer -e 'declared dead' "$log1" || fail "n1 suffered"

cat >"$NETDIR/share/raft.py" <<'EOF2'
# Connections that carry raft's messages, to n1, as node 2 and as nodes that there are not.
import json, resource, select, socket, struct, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4000, 4000))
cluster, own = sys.argv[1:3]
def link(raft_id):
    text = json.dumps({"v": 1, "cluster": cluster, "purpose": "raft", "raft_id": raft_id, "address": "10.77.0.2:7946",
                       "node": 2}).encode()
    s = socket.create_connection(("10.77.0.1", 7946))
    s.settimeout(60)
    s.sendall(struct.pack("<I", len(text)) + text)
    n = struct.unpack("<I", s.recv(4, socket.MSG_WAITALL))[0]
    assert b"error" not in s.recv(n, socket.MSG_WAITALL)
    return s
def message(type, head, version=0, length=None):
    return struct.pack("<BBBBIQ", type, 0, version, 0, 0, len(head) if length is None else length) + head
def ended(s):
    start = time.monotonic()
    try:
        while s.recv(4096):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - start
def expect(what, data):
    s = link("7")
    s.sendall(data)
    print("%-48s closed after %.1f s" % (what, ended(s)), flush=True)
heartbeat = struct.pack("<6Q", 1, 1, 1, 1, 0, 0)
expect("a message of an unknown type", message(99, heartbeat))
expect("a message of another version", message(1, heartbeat, version=9))
expect("a head of 4 GB", message(1, heartbeat, length=1 << 32))
expect("a head that is cut short", message(1, heartbeat[:24]))
expect("an index beyond all logs", message(1, struct.pack("<6Q", 1, 1 << 63, 1, 1, 0, 0)))
expect("an entry of a term to come", message(1, struct.pack("<8Q", 1, 1, 1, 1, 1, 2, 1 | 8 << 32, 0)))
if sys.argv[3]: # ten seconds
    expect("half a message, then silence", message(1, struct.pack("<8Q", 1, 1, 1, 1, 1, 1, 1 | 1 << 52, 0)) + b"x" * 4096)
# One id has a new connection and an old one, whoever it is.
held = []
for i in range(2000):
    held.append(link(own if i % 2 else "7"))
    if len(held) > 1000:
        held.pop(0).close()
poll = select.poll()
for s in held:
    poll.register(s, select.POLLIN | select.POLLHUP)
end = time.monotonic() + 60
while len(held) > 4 and time.monotonic() < end:
    for fd, _ in poll.poll(1000):
        poll.unregister(fd)
        held = [s for s in held if s.fileno() != fd]
print("of 2000 connections of two ids %d stay" % len(held))
assert len(held) <= 4
EOF2
step "raft's connections: messages that are none, half of one, two thousand of one node"
netd=$(on n1 pgrep -o -x netd)
fds() { on n1 sh -c "ls /proc/$netd/fd | wc -l"; }
rss_kb() { on n1 sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$netd/status"; }
before_fds=$(fds) before_kb=$(rss_kb)
assert on client timeout 300 python3 /share/raft.py "$id" "$raft" "$(full && echo silence)"
now=$(rss_kb)
echo "descriptors $before_fds -> $(fds), memory $before_kb -> $now KiB"
[ "$now" -lt $((before_kb + 16384)) ] || fail "$now KiB"
[ "$(grep -c 'no message of raft' "$log1")" -ge 1 ] || fail "nothing in the log of n1"
! full || [ "$(grep -c 'half a message of raft' "$log1")" = 1 ] || fail "half a message is not told of once"
[ "$(grep -c 10.77.0.250 "$log1")" -lt 60 ] || fail "the log is flooded"
wait_get n1 nodes '[.[] | select(.state == "up")] | length' 2 20
assert on n2 netctl set lease_ms 1500 # through n1's log, on n2's link
! grep -q 'declared dead' "$log1" || fail "n1 suffered"

step "a node in clear text does not enter a secure cluster, and is told why"
on n3 netctl init
on n2 netctl leave
assert_fails 1 on n2 netctl join 10.77.0.3 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'clear text; start netd here without --insecure'
