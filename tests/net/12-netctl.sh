#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# netctl against real daemons: what it prints for programs, who may do what, watching, completing, and what it
# says about a cluster that is not well.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
tmpdir

json_array() { jq -e 'type == "array" and all(.[]; type == "object")' >/dev/null; }

step "who is in no cluster has nothing to watch"
assert_fails 4 on n1 netctl watch 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'not a member .*netctl init'

step "init with an address that is not this machine's"
assert_fails 1 on n1 netctl init --addr 192.0.2.7 2>"$TMP/err"
cat "$TMP/err"
assert_fails 4 on n1 netctl nodes 2>/dev/null

step "every list is an array of objects, and has text for people"
on n1 groupadd -f netssi
cluster netd n1 stop
cluster netd n1 start
cluster_vip 3
for what in status nodes vips ports apps moves flows sets stats version help check; do
	on n1 netctl "$what" -j >"$TMP/out" || [ "$what" = check ]
	assert json_array <"$TMP/out"
	[ "$(wc -l <"$TMP/out")" = 1 ] || fail "netctl $what -j is not one line"
	on n1 netctl "$what" >"$TMP/out" || [ "$what" = check ]
	[ -s "$TMP/out" ] || fail "netctl $what says nothing"
	! grep -q $'\033' "$TMP/out" || fail "netctl $what prints colours into a file"
done
wait_get n2 status '.[0].healthy' true
assert_match "$(on n2 netctl)" '^healthy: 3 of 3 nodes' "bare netctl"
assert_match "$(get n1 nodes '.[0].since')" '^20[0-9-]{8}T[0-9:.]{12}Z$' "a time"
assert_eq "$(get n3 nodes '[.[] | select(.lease_left_ms == null)] | length')" 0 "nodes whose lease is unknown"

step "check says why this kernel would not run the module, and what that means"
check_says() { on n1 sh -c 'netctl check -j || :' | jq -r ".[] | select(.what == \"$1\") | \"\(.ok): \(.text)\""; }
if ! on n1 modprobe -n -q ssi_core; then
	release=$(uname -r)
	assert_match "$(check_says ssi_core)" "^warn: the module is installed for kernel .* only, and $release runs"
	assert_eq "$(check_says listen)" "warn: a program that listens does not wait: who loses a race loses his socket, later"
	# shellcheck disable=SC2016
	on n1 sh -ec 'mkdir -p /lib/modules/$0/updates; cp /lib/modules/*/updates/ssi_core.ko /lib/modules/$0/updates; depmod $0 2>/dev/null' "$release"
	assert_match "$(check_says ssi_core)" "^warn: the module was built for kernel .*, and $release runs"
	on n1 sh -c 'mkdir -p /etc/modprobe.d; echo "install ssi_core /bin/false" >/etc/modprobe.d/none.conf'
	assert_match "$(check_says ssi_core)" "^warn: modprobe is told not to load the module: install /bin/false"
	on n1 rm /etc/modprobe.d/none.conf
fi

step "what does not exist is an error, what is only not there is an empty list"
assert_fails 1 on n1 netctl ports --app nobody 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'no application nobody; .netctl apps. lists them'
assert_fails 1 on n1 netctl ports --node n9 2>"$TMP/err"
assert_eq "$(get n1 "ports :9" length)" 0
assert_fails 1 on n1 netctl logs nobody 2>"$TMP/err"

step "help on two words"
on n1 netctl vip --help | has 'Usage: netctl vip del ADDR'
on n1 netctl help port | has 'Usage: netctl port add'
assert_fails 2 on n1 netctl vip 2>"$TMP/err"

step "signal says what it did, logs shows as many lines as it was told"
on n1 ssi-run --detach --name talker sh -c 'trap "echo three" USR1; echo one; echo two; while :; do sleep 0.1; done'
written() { on n1 netctl logs talker | has "$1"; }
wait_for "the first lines" 5 written two
assert_eq "$(on n2 netctl signal talker USR1)" "sent SIGUSR1 to talker"
wait_for "its answer" 5 written three
assert_eq "$(on n3 netctl logs talker --lines 0)" ""
assert_eq "$(on n3 netctl logs talker --lines 1)" three
on n1 netctl signal talker KILL
gone() { same_value n1 apps length 0; }
wait_for "the end" 5 gone
assert_eq "$(on n1 netctl logs talker --lines 0)" ""

step "the group may look, not change"
asgroup() { on n1 setpriv --reuid 65534 --regid "$(on n1 getent group netssi | cut -d: -f3)" --clear-groups "$@"; }
asnobody() { on n1 setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
asgroup netctl nodes -j | assert json_array
assert_fails 1 asgroup netctl vip del $VIP 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'root'
assert_fails 1 asnobody netctl nodes 2>"$TMP/err"
assert_match "$(cat "$TMP/err")" 'netssi'

step "watch tells what happens, and goes on when netd is started again"
on n1 sh -c 'netctl watch -j >/tmp/watch.json 2>/tmp/watch.err & echo $! >/tmp/watch.pid'
seen() { on n1 cat /tmp/watch.json | jq -se "any(.[]; $1)" >/dev/null; }
pin() { on n1 netctl port add :7777 node n2 >/dev/null; on n1 netctl port del :7777 >/dev/null; seen '.kind == "port" and .port == 7777'; }
wait_for "an event about port 7777" 10 pin
cluster netd n1 kill
cluster netd n1 start
wait_get n1 status '.[0].state' up
on n1 netctl port add :7778 node n2
wait_for "an event behind the restart" 10 seen '.kind == "port" and .port == 7778'
assert seen '.kind == "lost" and .restarted'
on n1 cat /tmp/watch.json | jq -se '[.[].seq] | . == sort and length == (unique | length)' >/dev/null ||
	fail "sequence numbers do not grow"
on n1 sh -c 'kill $(cat /tmp/watch.pid)'

step "a watch is taken up where it ended; a number that is not kept any more is told"
last=$(on n1 cat /tmp/watch.json | jq -s '[.[].seq] | max')
on n1 netctl port del :7778
# What a watch from there says first, into $TMP/since.
since()
{
	rm -f "$TMP/since" # what the one before said
	on n1 netctl watch --since "$@" >"$TMP/since" &
	wait_for "the watch since $1 to say something" 5 test -s "$TMP/since"
	on n1 pkill -TERM -f "netctl watch --since $1"
	wait $! || :
}
since "$last" -j
jq -se '.[0].seq == '"$((last + 1))"' and (map(select(.kind == "lost")) | length == 0)' "$TMP/since" >/dev/null ||
	fail "the watch did not go on behind $last: $(cat "$TMP/since")"
for number in 5 $((last + 1000000)); do
	since $number -j
	jq -se '.[0] | .kind == "lost" and .restarted' "$TMP/since" >/dev/null || fail "since $number: nothing is said"
done
since 5
has 'what was before is missing' <"$TMP/since"
on n1 netctl port add :7778 node n2
on n1 netctl port del :7778

step "completion knows nodes and addresses"
complete() { on n1 netctl --complete "$@" | tr '\n' ' '; }
assert_eq "$(complete port add :1 node n)" "n1 n2 n3 "
assert_eq "$(complete vip del 10.)" "$VIP "

# As readline calls it: the line, and words cut at ':', too.
tab()
{
	on n1 bash -c '. /usr/local/share/bash-completion/completions/netctl
		COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
		read -ra COMP_WORDS <<<"${1//:/ : }"
		_netctl netctl "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
		echo "${COMPREPLY[*]}"' bash "$1"
}
assert_eq "$(tab 'netctl mi')" migrate
assert_eq "$(tab 'netctl port add :99 node n')" "n1 n2 n3"
assert_eq "$(tab 'netctl port add :99 ')" node
assert_eq "$(tab 'netctl ports --node ')" "n1 n2 n3"
assert_eq "$(tab 'netctl ports --no')" --node
assert_eq "$(tab 'netctl vip del 10.7')" $VIP
assert_eq "$(tab 'netctl watch st')" status

step "repeating is no error"
for twice in 1 2; do on n1 netctl port add :99/udp node n3 >"$TMP/out.$twice"; done
assert_match "$(cat "$TMP/out.2")" unchanged
wait_get n2 "ports :99/udp" '.[0] | .proto + " " + .node + " " + .state' "udp n3 pinned"
assert_eq "$(get n2 "ports :99/tcp" length)" 0 "ports :99/tcp"
on n1 netctl port del :99/udp

step "a node dies: status says so, and how to go on"
cluster kill n3
wait_get n1 nodes '.[] | select(.node == "n3") | .state' dead 15
assert_fails 1 on n1 netctl status --check >"$TMP/out"
assert_match "$(cat "$TMP/out")" 'n3 is dead; .*netctl leave n3'
on n1 netctl leave n3
on n1 netctl leave n3 | has unchanged
wait_get n2 nodes length 2

step "without a quorum nothing is changed"
leader=$(get n1 status '.[0].leader')
voters=$(get n1 nodes '[.[] | select(.role == "voter") | .node] | join(" ")')
echo "leader $leader, voters $voters"
other=n1
[ "$leader" = n2 ] || other=n2
cluster cut "$leader"
wait_get "$other" status '.[0].quorum' false 15
assert_fails 3 on "$other" netctl status --check
{ on "$other" netctl status || :; } | has 'nodes up, .* when last heard'
rc=0
on "$other" netctl vip del $VIP -j >"$TMP/out" 2>"$TMP/err" || rc=$?
assert_eq $rc 3 "exit status without a quorum"
assert_eq "$(jq -r .code "$TMP/err")" 3 "code in the error"
[ ! -s "$TMP/out" ] || fail "an error printed a result"
cluster heal "$leader"
wait_get "$other" status '.[0].quorum' true 20
