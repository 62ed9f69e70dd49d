#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The cluster of namespaces itself keeps what tests/vm/cluster promises.
. "${TEST_TOP:?}/tests/net/lib.sh"
export NETD=0
cluster_up 2

step "exec: streams and exit status"
assert_eq "$(echo word | on n1 cat)" word
assert_eq "$(on n1 sh -c 'echo out; echo err >&2' 2>/dev/null)" out
assert_fails 7 on n2 sh -c 'exit 7'
assert_fails 127 on n2 no-such-program 2>/dev/null

step "a node is a machine of its own"
assert_eq "$(on n2 hostname)" n2
[ "$(on n1 sh -c 'ls -d /proc/[0-9]*' | wc -l)" -le 4 ] || fail "n1 sees processes that are not its own"
on n1 touch /tmp/mark /var/lib/netssi/mark
assert_fails 2 on n2 ls /tmp/mark 2>/dev/null
on client ping -q -c 1 -W 10 10.77.0.1
on client ping -q -c 1 -W 10 fd77::2

step "every node sees a frame for a MAC that nobody answered from"
on client ip neigh replace $VIP lladdr 02:00:5e:00:00:01 dev eth0
for n in n1 n2; do
	on $n timeout 60 tcpdump -c 1 -n -i eth0 tcp port 6379 >"$NETDIR/log/$n.seen" 2>"$NETDIR/log/$n.dump" &
	wait_for "tcpdump on $n" 5 grep -q 'listening on' "$NETDIR/log/$n.dump"
done
on client timeout 1 nc -w 1 $VIP 6379 || :
for n in n1 n2; do
	wait_for "the frame on $n" 5 grep -q "> $VIP.6379" "$NETDIR/log/$n.seen"
done

step "cut and heal"
cluster cut n1
assert_fails 1 on client ping -q -c 1 -W 1 10.77.0.1
cluster heal n1
on client ping -q -c 1 -W 10 10.77.0.1

step "a power cut takes all at once and keeps /var/lib/netssi"
boot=$(on n1 cat /proc/sys/kernel/random/boot_id)
on n1 sleep 1000 &
sleeper=$!
wait_for "sleep on n1" 5 on n1 pgrep -x sleep
cluster kill n1
assert_fails 137 wait $sleeper
assert_fails 1 on n1 true 2>/dev/null
cluster start n1
on n1 test -e /var/lib/netssi/mark
assert_fails 1 on n1 test -e /tmp/mark
[ "$(on n1 cat /proc/sys/kernel/random/boot_id)" != "$boot" ] || fail "the boot id survived"
on client ping -q -c 1 -W 10 10.77.0.1

step "nothing stays behind when the owner dies"
group=$(cat "/proc/$(cat "$NETDIR/watcher")/cmdline" | tr '\0' ' ' | sed 's/.* -c \([^ ]*\).*/\1/')
watcher=$(cat "$NETDIR/watcher")
kill -KILL "$watcher"
wait_for "the namespaces to end" 10 bash -c "! [ -d /proc/$(cat "$NETDIR/holder") ]"
cluster up --nodes 1
cluster down
assert_eq "$(find /sys/fs/cgroup -maxdepth 1 -name "$group")" "" "control groups left"
