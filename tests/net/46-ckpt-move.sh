#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# An application moves between nodes by the keepers' protocol alone, without netd: connections, stdio,
# signals, exit status, the way back home, the undone move. The address 10.77.0.50 goes along by hand.
export NETD=0
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 3
tmpdir

ADDR=10.77.0.50
CRIU=/opt/criu-testing/criu
on n1 test -x $CRIU || CRIU=criu
port=9000

call() { on "$1" keeper-call "${@:2}"; }
field() { jq -r ".ok.$1"; }
number() { echo "${1#n}"; }
state() { call "$1" "$2" hello | jq -r .state; }

take_address()
{
	on "$1" ip addr del $ADDR/24 dev eth0 2>/dev/null || :
	on "$2" ip addr add $ADDR/24 dev eth0
	on client ip neigh flush dev eth0
}

# carry APP FROM TO: up to restored and stopped on TO. There must be a keeper on TO. With `early`, CRIU is
# started on both before it is needed.
early=''
carry()
{
	local app=$1 from=$2 to=$3 dir=/run/netssi/images/$1
	port=$((port + 1))
	[ -z "$early" ] || call "$from" "$app" ready dir="$dir" criu=$CRIU >/dev/null
	call "$from" "$app" dump dir="$dir" criu=$CRIU >"$TMP/dump" || fail "dump: $(cat "$TMP/dump")"
	call "$to" "$app" recv dir="$dir" ${early:+criu=$CRIU} listen=$port >"$TMP/recv" &
	call "$from" "$app" send dir="$dir" connect="10.77.0.$(number "$to"):$port" >"$TMP/send" || fail "send: $(cat "$TMP/send")"
	wait $! || fail "recv: $(cat "$TMP/recv")"
	[ "$app" != rd ] || take_address "$from" "$to"
	call "$to" "$app" restore dir="$dir" criu=$CRIU >"$TMP/restore" || fail "restore: $(cat "$TMP/restore")"
}

keeper_on() { call "$2" "$1" hello | on "$3" ssi-run --keeper; }

# The stdio of APP, which is on TO, goes to its supervisor on HOME.
reconnect()
{
	local app=$1 home=$2 to=$3
	port=$((port + 1))
	call "$home" "$app" moved node="$to" listen=$port >"$TMP/moved" &
	call "$to" "$app" stdio connect="10.77.0.$(number "$home"):$port" >"$TMP/stdio" || fail "stdio: $(cat "$TMP/stdio")"
	wait $! || fail "moved: $(cat "$TMP/moved")"
}

nothing_on() { [ -z "$(left "$1")" ]; }
left() { on "$1" sh -c 'ls -A /run/netssi/apps /run/netssi/images 2>/dev/null | grep -v :; ls -d /sys/fs/cgroup/ssi.slice/*.scope 2>/dev/null' || :; }

for n in n1 n2 n3; do
	on $n keeper-call netd $n >"$TMP/netd.$n" 2>&1 &
	at_exit "kill $!"
	wait_for "the one who grants names" 5 on $n test -S /run/netssi/netd.sock
done

step "a server with a connected client goes n1 -> n2"
on n1 ip addr add $ADDR/24 dev eth0
on n1 ssi-run --name rd redis-server --save '' --protected-mode no </dev/null >"$TMP/rd" 2>&1 &
supervisor=$!
answers() { [ "$(on client timeout 1 redis-cli -h $ADDR ping)" = PONG ]; }
wait_for "an answer" 5 answers
mkfifo "$TMP/cmd"
on client redis-cli -h $ADDR <"$TMP/cmd" >"$TMP/counter" &
client=$!
exec 6>"$TMP/cmd"
counted() { [ "$(tail -n 1 "$TMP/counter")" = "$1" ]; }
count() { echo 'incr n' >&6; wait_for "the count $1" 10 counted "$1"; }
count 1
keeper_on rd n1 n2
assert_eq "$(state n2 rd)" waiting
carry rd n1 n2
assert_eq "$(state n1 rd)" frozen
assert_eq "$(state n2 rd)" restored
assert_eq "$(field sockets <"$TMP/dump")" 1 "connections"
now=$(($(date +%s%N) / 1000000))
echo "frozen until here: $((now - $(field frozen_at_ms <"$TMP/dump"))) ms, with all the shell's work"
call n1 rd discard
assert_eq "$(state n1 rd)" moved
assert_eq "$(on n1 pgrep -c redis || :)" 0 "copies on n1"
call n2 rd resume
count 2
reconnect rd n1 n2
assert_eq "$(left n2 | grep -v 'rd$\|ssi-rd.scope' || :)" '' "left on n2"

step "CRIU made ready, and not needed"
call n2 rd ready dir=/run/netssi/images/rd criu=$CRIU
on n2 pgrep -x criu >/dev/null || fail "CRIU does not wait"
call n2 rd thaw
no_criu() { ! on n2 pgrep -x criu >/dev/null; }
wait_for "CRIU goes" 5 no_criu
early=1

step "a move that is undone: n2 keeps it, the connection goes on"
keeper_on rd n2 n3
carry rd n2 n3
call n3 rd discard
take_address n3 n2
wait_for "nothing of it on n3" 5 nothing_on n3
call n2 rd thaw
assert_eq "$(state n2 rd)" running
count 3

step "an undone move whose CRIU was killed"
call n2 rd dump dir=/run/netssi/images/rd criu=$CRIU
on n2 pkill -KILL -x criu
count_stopped() { [ "$(on n2 ps -o stat= -C redis-server | cut -c1)" = T ]; }
wait_for "it stays stopped" 5 count_stopped
call n2 rd thaw
count 4

step "a failing dump leaves it running"
assert_fails 1 call n2 rd dump dir=/run/netssi/images/rd criu=/bin/false
assert_fails 1 call n2 rd dump dir=/run/netssi/images/rd criu=/no/criu
count 5

step "on to n3, and home to n1"
keeper_on rd n2 n3
carry rd n2 n3
call n2 rd discard
wait_for "nothing of it on n2" 5 nothing_on n2
call n3 rd resume
reconnect rd n1 n3
count 6
carry rd n3 n1
call n3 rd discard
call n1 rd resume
assert_eq "$(state n1 rd)" running
count 7
on n1 pkill -TERM -o -x ssi-run
wait $supervisor || fail "the server ended with $?"
grep -q 'ready to exit' "$TMP/rd"
exec 6>&-
wait $client || :

step "stdio, signals and status of an application that moves"
mkfifo "$TMP/in"
# shellcheck disable=SC2016
on n1 ssi-run --name echo sh -c 'trap "echo caught" USR1; echo ready; while read -r line; do echo "got $line"; done; exit 5' <"$TMP/in" >"$TMP/out" 2>"$TMP/err" &
supervisor=$!
exec 7>"$TMP/in"
wait_for "the program" 5 grep -q ready "$TMP/out"
echo one >&7
wait_for "an answer" 5 grep -q 'got one' "$TMP/out"
keeper_on echo n1 n2
carry echo n1 n2
echo two >&7
call n1 echo discard
call n2 echo resume
echo three >&7
reconnect echo n1 n2
wait_for "an answer from n2" 5 grep -q 'got three' "$TMP/out"

step "the stream between them breaks and is replaced"
on n2 socat TCP-LISTEN:8999,reuseaddr TCP:10.77.0.1:8998 2>/dev/null &
call n1 echo moved node=n2 listen=8998 >"$TMP/moved" &
moved=$!
listens() { on "$1" ss -ltnH "sport = :$2" | has .; }
wait_for "the supervisor waits for the stream" 5 listens n1 8998
wait_for "the middleman is there" 5 listens n2 8999
call n2 echo stdio connect=10.77.0.2:8999 >/dev/null
wait $moved
call n1 echo watch >"$TMP/events" &
wait_for "a watcher" 5 grep -q hello "$TMP/events"
echo 4 >&7
wait_for "an answer by way of the middleman" 5 grep -q 'got 4' "$TMP/out"
on n2 pkill -KILL -x socat
wait_for "word of the loss" 5 grep -q stdio-lost "$TMP/events"
for i in 5 6; do echo $i >&7; done
reconnect echo n1 n2
wait_for "all answers" 5 grep -q 'got 6' "$TMP/out"
on n1 pkill -USR1 -o -x ssi-run
wait_for "the signal on n2" 5 grep -q caught "$TMP/out"
exec 7>&-
assert_fails 5 wait $supervisor
assert_eq "$(grep ^got "$TMP/out" | tr '\n' ' ')" "got one got two got three got 4 got 5 got 6 "
wait_for "nothing of it on n2" 5 nothing_on n2

step "a lot of output and input across moves: nothing lost, nothing doubled"
# Nobody reads yet: every buffer on the way is full when it moves.
mkfifo "$TMP/full"
exec 8<>"$TMP/full"
on n1 ssi-run --name pump cat < <(seq 200000) >"$TMP/full" &
supervisor=$!
# shellcheck disable=SC2016
stuck() { on n1 sh -c 'grep -q pipe_write "/proc/$(pgrep -o -x cat)/wchan"'; }
wait_for "the pipes are full" 5 stuck
keeper_on pump n1 n2
carry pump n1 n2
call n1 pump discard
call n2 pump resume
reconnect pump n1 n2
keeper_on pump n2 n3
carry pump n2 n3
call n2 pump discard
call n3 pump resume
reconnect pump n1 n3
carry pump n3 n1
call n3 pump discard
call n1 pump resume
exec 9<"$TMP/full" 8>&-
cat <&9 >"$TMP/seq"
exec 9<&-
wait $supervisor
cmp "$TMP/seq" <(seq 200000)

step "directories that go along"
on n1 sh -c 'mkdir -p /var/tmp/d1 /var/tmp/d2/deep; echo n1 >/var/tmp/d2/deep/file; chown 7:8 /var/tmp/d2/deep/file'
on n2 sh -c 'mkdir -p /var/tmp/d1; echo before >/var/tmp/d1/old'
# shellcheck disable=SC2016
on n1 ssi-run --name data --data /var/tmp/d1 --data /var/tmp/d2 \
	sh -c 'exec 4>>/var/tmp/d1/log; while read -r line; do echo "$line" >&4; echo "got $line"; done' <"$TMP/in" >"$TMP/out" &
supervisor=$!
exec 7>"$TMP/in"
echo one >&7
wait_for "an answer" 5 grep -q 'got one' "$TMP/out"
keeper_on data n1 n2
carry data n1 n2
assert_eq "$(on n2 cat /var/tmp/d1/log)" one
call n2 data discard
assert_eq "$(on n2 ls /var/tmp)" d1 "put back on n2"
assert_eq "$(on n2 cat /var/tmp/d1/old)" before
call n1 data thaw
echo two >&7
wait_for "an answer" 5 grep -q 'got two' "$TMP/out"
keeper_on data n1 n2
carry data n1 n2
call n1 data discard
call n2 data resume
reconnect data n1 n2
echo three >&7
wait_for "an answer from n2" 5 grep -q 'got three' "$TMP/out"
assert_eq "$(on n2 cat /var/tmp/d1/log | tr '\n' ' ')" "one two three "
assert_eq "$(on n2 stat -c %u:%g /var/tmp/d2/deep/file)" 7:8
tidy() { [ "$(on n2 ls /var/tmp | tr '\n' ' ')" = "d1 d2 " ]; }
wait_for "the old content goes" 5 tidy
assert_fails 1 on n2 test -e /var/tmp/d1/old
exec 7>&-
wait $supervisor || fail "it ended with $?"

step "what cannot move is refused before anything is frozen"
on n1 mkfifo /share/fifo
on n1 ssi-run --name held sh -c 'exec 5>/share/fifo; echo ready; sleep 1000' >"$TMP/out" &
supervisor=$!
on n1 sh -c 'cat /share/fifo >/dev/null' &
wait_for "the program" 5 grep -q ready "$TMP/out"
assert_fails 1 call n1 held dump dir=/run/netssi/images/held criu=$CRIU >"$TMP/dump"
grep -q 'held outside' "$TMP/dump" || fail "$(cat "$TMP/dump")"
assert_eq "$(state n1 held)" running
call n1 held signal sig=15
wait $supervisor || :

for n in n1 n2 n3; do
	wait_for "nothing to be left on $n" 5 nothing_on $n
done
