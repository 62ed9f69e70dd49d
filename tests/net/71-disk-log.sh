#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A log that is damaged while netd is down. The node must never go on as if it still knew what it had
# acknowledged: it comes back with an empty log under a fresh raft id, and the cluster loses nothing.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
raft=/var/lib/netssi/raft
redis n1
wait_for "an answer" 5 answers
wait_get n3 "ports :6379" '.[0].node' n1

raft_id() { on "$1" cat $raft/id; }
log_lines() { cluster log n3 | wc -l; }
log_since() { cluster log n3 | tail -n +$(($1 + 1)); }
voters() { get n1 nodes '[.[] | select(.state == "up" and .role == "voter")] | length'; }
# The newest segment in which entries stand.
in_segment() { on n3 sh -c "cd $raft; for f in \$(ls -r | grep -e ^open -e '^0'); do
	[ \$(head -c 64 \$f | tr -d '\\0' | wc -c) -lt 8 ] || { echo \$f; break; }; done"; }
flip() # FILE OFFSET
{
	on n3 sh -c "cd $raft; b=\$(od -An -tu1 -j$2 -N1 $1); printf \"\\\\\$(printf %o \$((b ^ 16)))\" |
		dd of=$1 bs=1 seek=$2 conv=notrunc status=none"
}
size() { on n3 stat -c %s "$raft/$1"; }
# The last byte of the last entry: what is cut off there is one entry, as after a write that was cut short.
last_byte() { on n3 sh -c "tr '\\0' ' ' <$raft/$1 | sed 's/ *\$//' | wc -c"; }

damage()
{
	local what=$1 before lines
	shift
	step "$what"
	before=$(raft_id n3)
	cluster netd n3 kill
	lines=$(log_lines)
	"$@"
	cluster netd n3 start
	wait_get n3 status '.[0].state' up 20
	assert_match "$(log_since "$lines")" 'the log of this node is damaged' "netd's log"
	[ "$(raft_id n3)" != "$before" ] || fail "n3 kept its raft id"
	wait_for "three voters" 15 three_voters
	wait_get n3 "ports :6379" '.[0].node' n1
	assert_eq "$(on n3 ls /var/lib/netssi | grep -c damaged || :)" 0 "what was set aside"
}
three_voters() { [ "$(voters)" = 3 ]; }

# A restart closes the segments that were open.
cluster netd n3 kill
cluster netd n3 start
wait_get n3 status '.[0].state' up 15

lost_tail() { local f; f=$(in_segment); flip "$f" $(($(last_byte "$f") - 1)); }
lost_file() { on n3 rm "$raft/$(in_segment)"; }
cut_file() { on n3 truncate -s 4096 "$raft/$(in_segment)"; on n3 truncate -s 64 "$raft/$(in_segment)"; }
lost_open() { on n3 sh -c "rm $raft/open-*"; }
wrong_term() { flip metadata1 16; flip metadata2 16; }
damage "the last entry that was acknowledged has a wrong bit" lost_tail
! full || damage "the newest segment is gone" lost_file
damage "all open segments are gone" lost_open
cluster netd n3 kill
cluster netd n3 start
wait_get n3 status '.[0].state' up 15
damage "a wrong term" wrong_term
if full; then
	damage "a segment is cut short" cut_file
	damage "term and vote are cut short" on n3 truncate -s 7 $raft/metadata1 $raft/metadata2
	damage "the mark is gone" on n3 rm $raft/mark
fi
damage "the mark cannot be read" on n3 dd if=/dev/urandom of=$raft/mark bs=4160 count=1 status=none
damage "the whole log is gone" on n3 rm -r $raft

step "nothing was damaged: the node keeps its id"
id=$(raft_id n3)
cluster netd n3 kill
cluster netd n3 start
wait_get n3 status '.[0].state' up 15
assert_eq "$(raft_id n3)" "$id" "raft id"

if full; then
	step "the others are set back to a backup and go on without a node that knows more"
	state=/var/lib/netssi
	for n in n1 n2; do
		cluster netd $n kill
		on $n cp -a $state /root/backup
		cluster netd $n start
		wait_get $n status '.[0].state' up 15
	done
	for ((i = 1; i <= 24; i++)); do
		on n1 netctl set lease_ms $((3000 + i)) >/dev/null
	done
	known() { on n3 netctl set | has 3024; }
	wait_for "n3 knows the last of it" 10 known
	cluster cut n3
	for n in n1 n2; do
		cluster netd $n kill
		on $n sh -c "rm -r $state/*; cp -a /root/backup/. $state; rm -r /root/backup"
	done
	for n in n1 n2; do
		cluster netd $n start
	done
	wait_get n1 status '.[0].state' up 20
	# Their disks forgot terms, too: into one that n3 has not seen.
	while [ "$(get n1 status '.[0].term')" -le "$(get n3 status '.[0].term')" ]; do
		leader=$(get n1 status '.[0].leader')
		cluster netd "$leader" kill
		cluster netd "$leader" start
		wait_get "$leader" status '.[0].state' up 15
	done
	on n1 netctl set lease_ms 3100 >/dev/null
	cluster heal n3
	other_history() { local text; text=$(on n3 netctl status 2>&1) || :; [[ $text =~ 'another history than the cluster' ]]; }
	wait_for "n3 says that its history is another" 15 other_history
	assert_fails 3 on n3 netctl status --check
	! get n3 status '.[0].problems[].problem' | has 'no quorum' || fail "what follows from it is told, too"
	cluster netd n3 kill
	cluster netd n3 start
	wait_for "n3 says so after a restart" 15 other_history
	on n3 netctl leave
	wait_get n1 nodes '.[] | select(.node == "n3").state' dead 15
	on n1 netctl token | on n3 netctl join 10.77.0.1 --token-file -
	wait_for "three voters" 30 three_voters
fi

step "the same for the leader"
cluster netd n1 kill
on n1 rm $raft/mark
cluster netd n1 start
wait_get n1 status '.[0].state' up 30
wait_for "three voters" 15 three_voters
on n2 netctl vip del $VIP --force >/dev/null || on n2 netctl vip del $VIP >/dev/null
wait_get n1 vips length 0

step "the last one says so and does not pretend"
on n2 netctl leave
on n3 netctl leave
wait_for "n1 notes that it is alone" 5 on n1 sh -c '! [ -s /var/lib/netssi/peers ]'
cluster netd n1 kill
on n1 sh -c "rm -f $raft/open-* $raft/0*"
cluster netd n1 start
no_copy() { local text; text=$(on n1 netctl status 2>&1) || :; [[ $text =~ 'no other node is known that has a copy' ]]; }
wait_for "n1 says that its log is lost" 10 no_copy
assert_fails 3 on n1 netctl status --check
assert_eq "$(get n1 vips length)" 0
on n1 netctl leave
assert_fails 4 on n1 netctl status
