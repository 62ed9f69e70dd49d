#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What a program has set on its sockets, what they negotiated and what they hold is the same after a move: each option
# that the kernel has, in both families, on listeners, connections and datagram sockets.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
VIP6=fd77::100
on n1 netctl vip add $VIP6/64
tmpdir

# Sets an unusual value of every option on each socket, and tells at "?" on its control connection what they are.
cat >"$NETDIR/share/probe" <<'END_PROBE'
import socket, struct
SOL, TCP, IP, IP6 = socket.SOL_SOCKET, 6, 0, 41
#      level option name value
ALL = [(SOL, 2, "REUSEADDR", 1), (SOL, 15, "REUSEPORT", 1), (SOL, 9, "KEEPALIVE", 1), (SOL, 10, "OOBINLINE", 1),
       (SOL, 7, "SNDBUF", 55555), (SOL, 8, "RCVBUF", 66666), (SOL, 18, "RCVLOWAT", 3), (SOL, 12, "PRIORITY", 5),
       (SOL, 36, "MARK", 0x77), (SOL, 13, "LINGER", (1, 7)), (SOL, 66, "RCVTIMEO", (11, 500000)),
       (SOL, 67, "SNDTIMEO", (12, 250000)), (SOL, 47, "MAX_PACING_RATE", 100000000), (SOL, 5, "DONTROUTE", 1),
       (SOL, 16, "PASSCRED", None), (SOL, 63, "TIMESTAMP_NEW", 1), (SOL, 40, "RXQ_OVFL", None),
       (SOL, 46, "BUSY_POLL", 50), (SOL, 74, "TXREHASH", 0), (SOL, 82, "RCVPRIORITY", None)]
STREAM = [(TCP, 1, "NODELAY", 1), (TCP, 3, "CORK", 1), (TCP, 4, "KEEPIDLE", 77),
          (TCP, 5, "KEEPINTVL", 11), (TCP, 6, "KEEPCNT", 4), (TCP, 7, "SYNCNT", 5), (TCP, 8, "LINGER2", 9),
          (TCP, 13, "CONGESTION", b"reno"), (TCP, 16, "THIN_LINEAR_TIMEOUTS", 1),
          (TCP, 18, "USER_TIMEOUT", 33333), (TCP, 25, "NOTSENT_LOWAT", 44444), (TCP, 36, "INQ", 1)]
LISTEN = [(TCP, 2, "MAXSEG", 1234), (TCP, 9, "DEFER_ACCEPT", 3), (TCP, 23, "FASTOPEN", 16), (TCP, 27, "SAVE_SYN", None)]
FOUR = [(IP, 1, "TOS", 0x28), (IP, 2, "TTL", 44), (IP, 10, "MTU_DISCOVER", 2), (IP, 15, "FREEBIND", 1),
        (IP, 8, "PKTINFO", 1), (IP, 13, "RECVTOS", 1), (IP, 12, "RECVTTL", 1), (IP, 24, "BIND_ADDRESS_NO_PORT", 1),
        (IP, 21, "MINTTL", 1)]
GROUPS = [(IP, 49, "MULTICAST_ALL", 0), (IP, 33, "MULTICAST_TTL", 3), (IP, 34, "MULTICAST_LOOP", 0)]
SIX = [(IP6, 67, "TCLASS", 0x28), (IP6, 16, "UNICAST_HOPS", 45), (IP6, 26, "V6ONLY", None), (IP6, 23, "MTU_DISCOVER6", 2),
       (IP6, 49, "RECVPKTINFO", 1), (IP6, 66, "RECVTCLASS", 1), (IP6, 51, "RECVHOPLIMIT", 1), (IP6, 78, "FREEBIND6", 1),
       (IP6, 70, "AUTOFLOWLABEL", 0), (IP6, 62, "DONTFRAG", 1), (IP6, 73, "MINHOPCOUNT", 1)]
HEX = {"LINGER": "ii", "RCVTIMEO": "qq", "SNDTIMEO": "qq"}

def options(s):
    listens = s.type == socket.SOCK_STREAM and s.getsockopt(SOL, 30)
    o = ALL + (SIX if s.family == socket.AF_INET6 else FOUR)
    return o + (STREAM if s.type == socket.SOCK_STREAM else GROUPS) + (LISTEN if listens else [])

def change(s):
    for level, option, name, value in options(s):
        try:
            if name in HEX: s.setsockopt(level, option, struct.pack(HEX[name], *value))
            elif value is not None: s.setsockopt(level, option, value)
        except OSError as e:
            pass

def tell(what, s):
    for level, option, name, value in options(s):
        try:
            v = s.getsockopt(level, option, 16).rstrip(b"\0").hex()
        except OSError as e:
            v = "errno %d" % e.errno
        yield "%s %s %s\n" % (what, name, v)
    if s.type == socket.SOCK_STREAM:
        b = s.getsockopt(TCP, 11, 232)
        u = struct.unpack_from("=8B24I", b)
        yield "%s state %d options %d wscale %d\n" % (what, u[0], u[5], u[6])
        yield "%s snd_mss %d advmss %d\n" % (what, u[10], u[25])
        yield "# %s rto %d ato %d rcv_mss %d pmtu %d rcv_ssthresh %d rtt %d ssthresh %d cwnd %d reordering %d\n" % (what, *(u[i] for i in (8, 9, 11, 21, 22, 23, 25, 26, 28)))

def listener(family, address, port):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(SOL, 2, 1)
    if family == socket.AF_INET6: s.setsockopt(IP6, 26, 1)
    s.bind((address, port))
    s.listen(16)
    return s

known = {}
for name, family, vip in (("four", socket.AF_INET, "10.77.0.100"), ("six", socket.AF_INET6, "fd77::100")):
    known[name + "-listen"] = listener(family, vip, 7000)
    u = known[name + "-udp"] = socket.socket(family, socket.SOCK_DGRAM)
    change(u)
    u.bind((vip, 7002))
control = listener(socket.AF_INET, "0.0.0.0", 7001)
c, _ = control.accept()
f = c.makefile("rw")
for line in f:
    word = line.split()
    if word[0] == "accept":
        s, _ = known[word[1] + "-listen"].accept()
        known[word[1]] = s
    elif word[0] == "read": # to its end, into a file, and answers
        with open("/share/read-" + word[1], "wb") as out:
            while d := known[word[1]].recv(65536): out.write(d)
        known[word[1]].sendall(b"thanks\n")
        known.pop(word[1]).close()
    elif word[0] == "change":
        for s in known.values(): change(s)
    elif word[0] == "tell":
        for what, s in known.items(): f.writelines(tell(what, s))
    f.write(".\n")
    f.flush()
END_PROBE
on n1 ssi-run --detach --name probe python3 /share/probe
wait_get n3 "ports :7001" length 1
talk_to probe 7001
# More than its buffer holds, then the client says that this was all: unread data here, unacknowledged there, half closed.
head -c 400000 /dev/urandom >"$NETDIR/share/sent"
for name in four six; do
	[ $name = six ] && to=[$VIP6] || to=$VIP
	on client socat -t 60 - tcp:$to:7000 <"$NETDIR/share/sent" >"$TMP/$name" &
	ask accept $name
done
ask change
full && nodes='n2 n3 n1' || nodes=n2
for node in $nodes; do
	step "to $node"
	ask tell >"$TMP/before"
	on n1 netctl migrate probe "$node"
	ask tell >"$TMP/after"
	grep '^#' "$TMP/before" "$TMP/after"
	diff <(grep -v '^#' "$TMP/before") <(grep -v '^#' "$TMP/after") || fail "a move has changed sockets"
	grep -c -v ' errno ' "$TMP/after"
done

step "what was sent is there, and its end"
for name in four six; do
	ask read $name
	cmp "$NETDIR/share/sent" "$NETDIR/share/read-$name"
	answered() { grep -q thanks "$TMP/$name"; }
	wait_for "the answer of $name" 5 answered
done
