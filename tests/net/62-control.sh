#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The control socket: who may ask, who may change, and that nobody keeps the others out. Users are real ones.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 2
cluster_form 2
tmpdir
group=$(on n1 sh -c 'grep ^netssi: /etc/group | cut -d: -f3')
nobody() { on n1 setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
member() { on n1 setpriv --reuid 65534 --regid 65534 --groups "$group" "$@"; }

step "the socket is root's and the group's"
assert_eq "$(on n1 stat -c '%a %u %g' /run/netssi/netd.sock)" "660 0 $group"
assert_eq "$(on n1 stat -c '%a %u' /etc/netssi/key)" "600 0"
assert_eq "$(on n1 stat -c '%a %u' /var/lib/netssi/raft)" "700 0"

step "a user outside the group may not even ask"
assert_fails 1 nobody netctl status 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'run it as root, or join the group netssi'

step "the group may ask"
for command in status nodes vips ports apps moves flows sets stats version; do
	assert member netctl -j $command >/dev/null
done
member timeout 2 netctl watch >/dev/null || [ $? = 124 ]

# Each command that changes something, by its name on the socket, past netctl.
step "the group may change nothing"
cat >"$NETDIR/share/ask.py" <<'EOF2'
import json, os, socket, sys
allowed = []
for cmd in sys.argv[1:]:
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect("/run/netssi/netd.sock")
    s.sendall(json.dumps({"cmd": cmd, "args": {}}).encode() + b"\n")
    answer = json.loads(s.makefile().readline())
    if "only root may change" not in answer.get("error", ""):
        allowed.append("%s: %s" % (cmd, answer))
print("\n".join(allowed))
EOF2
# What netd has, taken from its source, so that no new command is forgotten.
changes=$(sed -n 's/.*ctl_register([^,]*, "\([a-z-]*\)", [A-Z_| ]*CTL_ROOT.*/\1/p' "$TEST_TOP"/userland/netd/*.c | sort)
questions=$(sed -n 's/.*ctl_register([^,]*, "\([a-z-]*\)", \(0\|CTL_MEMBER\|CTL_MEMBER | CTL_QUORUM\), .*/\1/p' \
	"$TEST_TOP"/userland/netd/*.c | sort)
# shellcheck disable=SC2086
echo "changes:" $changes
# shellcheck disable=SC2086
echo "questions:" $questions
[ "$(wc -w <<<"$changes")" -ge 14 ] || fail "commands are missing: $changes"
[[ " $(echo $questions) " != *" key-rotate "* ]]
# shellcheck disable=SC2086
assert_eq "$(member python3 /share/ask.py $changes)" "" "changes that the group could make"
[ "$(on n1 python3 /share/ask.py vip-add port-add signal | wc -l)" = 3 ] || fail "root may change nothing either"

step "ten thousand connections from a user of the group: root is served"
cat >"$NETDIR/share/flood.py" <<'EOF2'
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4000, 4000))
held = []
for i in range(10000):
    s = socket.socket(socket.AF_UNIX)
    s.setblocking(False)
    try:
        s.connect("/run/netssi/netd.sock")
        s.send(b'{"cmd":') # half a request
    except OSError:
        pass
    held.append(s)
    if len(held) > 3000:
        held.pop(0).close()
print("opened", flush=True)
time.sleep(20)
EOF2
pid=$(on n1 pgrep -o -x netd)
fds() { on n1 sh -c "ls /proc/$pid/fd | wc -l"; }
rss_kb() { on n1 sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$pid/status"; }
before_fds=$(fds) before_kb=$(rss_kb) most_fds=0
on n1 prlimit --nofile=4096:4096 setpriv --reuid 65534 --regid 65534 --groups "$group" python3 /share/flood.py >"$TMP/flood" 2>&1 &
flood=$!
until grep -q opened "$TMP/flood"; do
	kill -0 $flood 2>/dev/null || fail "the flood ended early: $(cat "$TMP/flood")"
	now=$(fds); [ "$now" -le $most_fds ] || most_fds=$now
	assert timeout 20 "$CLUSTER" exec n1 -- netctl nodes >/dev/null
done
now=$(fds); [ "$now" -le $most_fds ] || most_fds=$now
assert timeout 20 "$CLUSTER" exec n1 -- netctl nodes >/dev/null
now=$(rss_kb)
on n1 pkill -KILL -f flood.py
echo "descriptors $before_fds -> $most_fds, memory $before_kb -> $now KiB"
[ $most_fds -lt $((before_fds + 160)) ] || fail "$most_fds descriptors"
[ "$now" -lt $((before_kb + 16384)) ] || fail "$now KiB"
wait || :
assert member netctl nodes >/dev/null
