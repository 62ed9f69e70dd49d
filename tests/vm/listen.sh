#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 600
# listen() and bind() that wait for the cluster: races, a netd that is silent or gone, signals, the freezer.
CLUSTER=$TEST_TOP/tests/vm/cluster
. "${TEST_TOP:?}/tests/net/lib.sh"
tmpdir
cluster_up
share=$TEST_O/vm/share
cp "$TEST_O/bin/listen-try" "$share/"
at_exit "rm -f '$share/listen-try'"
at_exit 'tail -n 40 "$TMP"/*'

# try NODE NAME OPTION... PORT [COUNT]: listen-try as an application; what it says is in $TMP/NAME
try()
{
	local node=$1 name=$2
	shift 2
	on "$node" ssi-run --name "$name" -- /share/listen-try "$@" >"$TMP/$name" 2>&1 </dev/null &
}
said() { grep -c " $2" "$TMP/$1" || :; }
has_said() { [ "$(said "$1" "$3")" = "$2" ]; }
tried() { [ "$(grep -c '^[0-9]* [a-zE]' "$TMP/$1")" = "$2" ]; }
over() { has -e '^lost' "$TMP/$1"; }
later_ms() { echo $((${EPOCHREALTIME//[!0-9]/} / 1000 + $1 * ${SLOW:-1})); }
scope() { on "$1" sh -c "cat /sys/fs/cgroup/ssi.slice/ssi-$2.scope/$3"; }
pid_of() { on "$1" pgrep -x listen-try; }

step "all wait for the cluster"
cluster_vip
on n1 netctl set lease_ms 60000
for ((i = 1; i <= ${NODES:-3}; i++)); do
	node=n$i
	wait_get $node status '.[0].datapath.listen' synchronous 20
done
assert_fails 1 on n1 rmmod ssi_core

# What the module says of each claim, to whom it may concern; the limits of the buffer are not of interest here.
on n1 sh -c 'cd /sys/kernel/tracing 2>/dev/null && { [ -e trace ] || mount -t tracefs tracefs .; } && cd /sys/kernel/tracing &&
	echo 4096 >buffer_size_kb && echo 1 >events/ssi_core/ssi_claim/enable' || fail "no tracefs"
traced() { on n1 grep -c "ssi_claim: .*reason=$1\$" /sys/kernel/tracing/trace || :; }

# One program of the two gets a port, the other an error from its own listen() or bind(): no socket is lost.
race()
{
	local what=$1 count=$2 start name port
	shift 2
	start=$(later_ms 8000)
	for name in one two; do
		try "$([ $name = one ] && echo n1 || echo n2)" $name "$@" -t "$start" -g $((60 * ${SLOW:-1})) -l 2 7000 "$count"
	done
	for name in one two; do
		wait_for "$name has tried all" 60 tried $name "$count"
		wait_for "$name ends" 30 over $name
	done
	wait
	for ((port = 7000; port < 7000 + count; port++)); do
		assert_eq "$(cat "$TMP"/{one,two} | grep "^$port " | cut -d' ' -f2 | sort | tr '\n' ' ')" "EADDRINUSE ok " \
			"$what: port $port"
	done
	assert_eq "$(cat "$TMP"/{one,two} | grep -c '^lost 0$')" 2 "sockets that were taken away"
	echo "$what: n1 won $(grep -c ' ok ' "$TMP/one") of $count"
}

step "two nodes want the same 50 ports at the same time"
race listen 50
step "... by io_uring, on dual-stack sockets"
race io_uring 10 -i -6
step "... and by UDP"
race udp 10 -u
for node in n1 n2; do
	on $node journalctl -u netd | has 'is ended' && fail "netd on $node ended a socket"
done

step "how long it takes"
try n1 one 7100 10
wait_for "ten times" 30 tried one 10
wait
on n1 /share/listen-try 7200 10 >"$TMP/plain"
median() { sort -n -k3 "$TMP/$1" | awk '/ ok /{ t[n++] = $3 } END { print t[int(n / 2)] }'; }
echo "listen(): $(median one) us with the cluster's answer, $(median plain) us without"

silent() { on n1 systemctl kill -s STOP --kill-whom=main netd; }
awake() { on n1 systemctl kill -s CONT --kill-whom=main netd; }
# begin NAME ANSWER-MS: on n1 a program waits in listen(), and netd is silent
begin()
{
	on n1 netctl set answer_ms "$2"
	try n1 "$1" -s -l 60 7300
	wait_for "$1 is there" 20 has_said "$1" 0 never
	wait_for "$1 is ready" 20 grep -q ready "$TMP/$1"
	wait_for "the kernel knows the limit" 20 limit_known "$2"
	silent
	on n1 pkill -USR1 -x listen-try
	wait_for "$1 waits" 20 waiting
}
limit_known() { on n1 journalctl -u netd | grep 'ms at most' | tail -n 1 | has "claim, $1 ms"; }
waiting() { on n1 sh -c 'grep -q ssi_core /proc/$(pgrep -x listen-try)/stack'; }

step "netd is silent: EAGAIN in time, and a line in the log"
begin silent 1500
wait_for "it is told to try again" 30 has_said silent 1 EAGAIN
on n1 dmesg | has 'netd did not answer'
on n1 pkill -TERM -x listen-try
awake
wait

step "a signal ends the wait"
begin signal 60000
on n1 pkill -INT -x listen-try
gone() { ! pid_of n1 >/dev/null; }
wait_for "it ends" 10 gone
awake
wait

step "so does the freezer, and after it the program asks again"
begin frozen 60000
on n1 sh -c 'echo 1 >/sys/fs/cgroup/ssi.slice/ssi-frozen.scope/cgroup.freeze'
frozen() { scope n1 frozen cgroup.events | has 'frozen 1'; }
wait_for "it is frozen" 10 frozen
on n1 sh -c 'echo 0 >/sys/fs/cgroup/ssi.slice/ssi-frozen.scope/cgroup.freeze'
wait_for "it waits again" 10 waiting
awake
wait_for "it listens" 20 has_said frozen 1 ok
wait_get n1 'ports :7300' '.[0].app' frozen
on n1 pkill -TERM -x listen-try
wait

step "... and what freezes for a suspend: nobody is frozen where others have to wait for him"
on n1 sh -c 'mkdir -p /run/freezer && mount -t cgroup -o freezer freezer /run/freezer && mkdir /run/freezer/t'
begin suspended 60000
on n1 sh -c 'pgrep -x listen-try >/run/freezer/t/cgroup.procs; echo FROZEN >/run/freezer/t/freezer.state'
suspended() { [ "$(on n1 cat /run/freezer/t/freezer.state)" = FROZEN ]; }
wait_for "it is frozen" 10 suspended
waiting && fail "it is frozen within the call"
on n1 sh -c 'echo THAWED >/run/freezer/t/freezer.state'
wait_for "it waits again" 10 waiting
awake
wait_for "it listens" 20 has_said suspended 1 ok
on n1 pkill -TERM -x listen-try
wait

step "netd dies while a program waits: the next one answers"
begin died 60000
on n1 systemctl kill -s KILL --kill-whom=main netd
wait_for "it listens" 30 has_said died 1 ok
wait_get n1 'ports :7300' '.[0].app' died
on n1 pkill -TERM -x listen-try
wait

step "the kernel traced each of them, with the reason"
for reason in ASKED GRANTED IN_USE TIME_OUT INTERRUPTED ASKED_AGAIN; do
	n=$(traced $reason)
	[ "$n" -gt 0 ] || fail "no claim was traced as $reason"
	echo "$reason: $n"
done
on n1 grep -m 1 -o 'ssi_claim: .*' /sys/kernel/tracing/trace | has -E 'id=[0-9]+ \[.*\]:7[0-9]+ proto=6 pid=[0-9]+ cookie=[0-9]+ reason=ASKED'
on n1 sh -c 'echo 0 >/sys/kernel/tracing/events/ssi_core/ssi_claim/enable'

step "a server that was moved listens without waiting for anybody"
redis n1
wait_for "redis is known" 20 owner_is n1 n1
on n1 netctl migrate redis-server "n${NODES:-3}"
wait_for "redis answers" 20 answers

step "without the module the race is decided later"
on n1 systemctl stop netd
on n1 sh -c 'rm /sys/fs/bpf/netssi/links/dip_claim_*; ip link del ssi-hold'
unloaded() { on n1 rmmod ssi_core; }
wait_for "the module goes" 20 unloaded
on n1 sh -c 'mkdir -p /etc/modprobe.d; echo "install ssi_core /bin/false" >/etc/modprobe.d/none.conf'
on n1 systemctl start netd
wait_get n1 status '.[0].datapath.listen' asynchronous 20
