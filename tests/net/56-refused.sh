#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What cannot be moved is refused before the program is touched, with the reason, the place and a remedy.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 2
cluster_vip 2
tmpdir

on n1 sh -c 'mkdir /var/tmp/held && cd /var/tmp/held && mkfifo pipe && echo 1 >here && cp /bin/true library && cp /bin/true other'
on n1 sh -c 'exec socat UNIX-LISTEN:/var/tmp/held/socket,fork EXEC:cat </dev/null >/dev/null 2>&1' &
at_exit "kill $! 2>/dev/null"
on n1 sh -c 'exec cat <>/var/tmp/held/pipe >/dev/null' &
at_exit "kill $! 2>/dev/null"
wait_for "a server outside" 5 on n1 test -S /var/tmp/held/socket
on n2 sh -c 'mkdir /var/tmp/held && echo another >/var/tmp/held/other'

# A line each: what `held` opens, what is said of it
cat >"$TMP/kinds" <<'END'
uring;io_uring
bpf;BPF maps
perf;perf event
protocol=262;MPTCP
protocol=132;SCTP
md5=7101;MD5
tls=7102;tls
zerocopy;zero copy
errors;error queue
group=239.77.1.2;multicast
group6=ff05::1:77;multicast
open=/dev/net/tun;/dev/net/tun.*device
unix=/var/tmp/held/socket;UNIX socket is connected with a process outside
written=/var/tmp/held/pipe;other end of this pipe
open=/var/tmp/held/here;/var/tmp/held/here.*n2: .*is not there
map=/var/tmp/held/other;/var/tmp/held/other.*n2: .*is another there
map=/var/tmp/held/library;/var/tmp/held/library.*replaced
space;network namespace of its own
END

cannot()
{
	local rc=0
	on n2 netctl "$@" >"$TMP/out" 2>"$TMP/err" </dev/null || rc=$?
	[ $rc = 1 ] || fail "netctl $* ended with $rc: $(cat "$TMP/out" "$TMP/err")"
	assert_eq "$(wc -l <"$TMP/err")" 1 "lines on stderr: $(cat "$TMP/err")"
}
ready() { on n1 netctl logs "$1" | has '^ready$'; }
start()
{
	local name=$1
	shift
	on n1 ssi-run --detach --name "$name" held "$@"
	wait_for "$name" 5 ready "$name"
	# Who is asked next is the other node.
	wait_get n2 apps '.[] | select(.app == "'"$name"'").state' running
}
# The upgrade: the name is another file's now.
replace() { on n1 sh -c 'cd /var/tmp/held && cp /bin/true new && mv new library'; }
untouched()
{
	assert_eq "$(get n2 apps '.[] | select(.app == "'"$1"'") | "\(.node) \(.state) \(.pid)"')" "n1 running $2"
	assert_eq "$(on n1 sh -c 'ps -o stat= -p '"$2"' | cut -c1')" S "state of the process"
	assert_eq "$(get n1 moves length)" 0
	assert_eq "$(on n1 sh -c 'ls /run/netssi/images 2>/dev/null | wc -l')" 0 "images"
}
pid_of() { get n1 apps '.[] | select(.app == "'"$1"'") | .pid'; }

step "nothing stands against it"
start plain
on n2 netctl migrate plain n2 --dry-run | has 'plain can move to n2'
untouched plain "$(pid_of plain)"

step "limits that CRIU would run into"
on n1 ssi-run --detach --name few sh -c 'ulimit -n 4; exec sleep 1000'
wait_for "its limit" 5 on n1 pgrep -x sleep
cannot migrate few n2
assert_match "$(cat "$TMP/err")" 'as many open files as it may have.*raise its limit'
on n1 netctl signal few KILL
on n1 ssi-run --detach --name nobody --user nobody sleep 1000
if [ $((0x$(on n1 sed -n 's/^CapEff:\t*//p' /proc/self/status) >> 24 & 1)) = 1 ]; then
	on n2 netctl migrate nobody n2
else
	cannot migrate nobody n2
	assert_match "$(cat "$TMP/err")" "another user's.*CAP_SYS_RESOURCE"
fi
on n1 netctl signal nobody KILL

step "all at once: each is named"
mapfile -t all < <(cut -d';' -f1 "$TMP/kinds")
start all "${all[@]}"
replace
pid=$(pid_of all)
on n1 netctl logs all >"$TMP/held"
grep '^no ' "$TMP/held" || :
cannot migrate all n2 --dry-run
while IFS=';' read -r kind words; do
	if grep -q "^no $kind:" "$TMP/held"; then continue; fi
	grep -E "$words" "$TMP/out" | has '; .' || fail "$kind: nothing of '$words' in: $(cat "$TMP/out")"
done <"$TMP/kinds"
assert_eq "$(wc -l <"$TMP/out")" "$(grep -c '^held' "$TMP/held")" "reasons: $(cat "$TMP/out")"
[ "$(grep -c '^held' "$TMP/held")" -ge 14 ] || fail "this kernel has too little: $(cat "$TMP/held")"
rc=0
on n2 netctl migrate all n2 --dry-run -j >"$TMP/json" || rc=$?
assert_eq $rc 1 "exit status with -j"
assert_eq "$(jq '.[0].refusals | length' "$TMP/json")" "$(wc -l <"$TMP/out")"
jq -e '.[0].refusals | all(.reason and .remedy and .path != null and .pid != null and .fd != null)' "$TMP/json" >/dev/null
cannot migrate all n2
assert_match "$(cat "$TMP/err")" "pid [0-9]+ fd [0-9]+ .*and [0-9]+ more"
untouched all "$pid"
on n1 netctl signal all KILL

step "a processor that has less"
on n2 sh -c 'sed "s/^\(flags.*\) sse2/\1/; s/^\(Features.*\) fp/\1/" /proc/cpuinfo >/run/cpuinfo && mount --bind /run/cpuinfo /proc/cpuinfo'
cannot migrate plain n2
assert_match "$(cat "$TMP/err")" 'n2: its processor lacks .*: (sse2|fp); .*'
untouched plain "$(pid_of plain)"
on n2 umount /proc/cpuinfo
on n2 netctl migrate plain n2 | has 'moved to n2'

step "sockets of a socket unit"
# shellcheck disable=SC2016
assert_fails 125 on n1 sh -c 'LISTEN_FDS=1 LISTEN_PID=$$ exec ssi-run --name unit sleep 1000' 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'socket unit.*disable'

full || exit 0
step "each alone"
i=0
while IFS=';' read -r kind words <&3; do
	if grep -q "^no $kind:" "$TMP/held"; then continue; fi
	i=$((i + 1))
	start alone$i "$kind"
	[[ $kind != *library ]] || replace
	pid=$(pid_of alone$i)
	cannot migrate alone$i n2
	assert_match "$(cat "$TMP/err")" "$words"
	untouched alone$i "$pid"
	on n1 netctl signal alone$i KILL
done 3<"$TMP/kinds"
