#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A disk fills up while the cluster works: the node says so and what to do, hands leadership on, the others go on. With
# room again it is as it was, with its log and its raft id. With most disks full nothing is granted, and nothing is lost.
. "${TEST_TOP:?}/tests/net/lib.sh"
many=$(full && echo 5 || echo 3)
NODES=$(seq -f n%.0f "$many")
export NETD_BIN=$TEST_O/bin/netd-probe
cluster_up "$many"
tmpdir
for n in $NODES; do
	on "$n" mount -t tmpfs -o size=80M,mode=700 disk /var/lib/netssi
done
cp "$TEST_O/bin/kddm-bench" "$NETDIR/share/"
cluster_vip "$many"
[ "$many" -lt 5 ] || on client /share/kddm-bench conf /share/n1.probe voters 5
wait_get n1 nodes '[.[] | select(.role == "voter")] | length' "$many" 30

fill() { on "$1" sh -c 'dd if=/dev/zero of=/var/lib/netssi/fill bs=4k 2>/dev/null || :'; }
raft_id() { on "$1" cat /var/lib/netssi/raft/id; }
says() { local text; text=$(on "$1" netctl status 2>&1) || :; [[ $text =~ $2 ]]; }
# Entries, asked for at a node, until the files that are there are full and another says so.
work() { on client timeout 6 /share/kddm-bench batch "/share/$1.probe" 100000 1000 4 >/dev/null 2>&1 || :; }
noticed() { says "$2" '(has not taken|no room for) the replicated log' || { work "$1"; false; }; }
leader() { get "$1" status '.[0].leader'; }
a_leader_but() { local l; l=$(leader "$1" 2>/dev/null); [ "$l" != - ] && [ "$l" != "$2" ]; }
all_well() { for n in $NODES; do says "$n" '^healthy' || return 1; done; }
ids=$(for n in $NODES; do raft_id "$n"; done)

redis n1
wait_for "an answer" 5 answers

# Ports with their home on every node: some had theirs on the one that is full.
# opens FIRST: an application on n1 that listens on 30 of them answers on each
opens()
{
	on n1 ssi-run --detach --name "from$1" python3 /share/listen.py "$1"
	wait_get n1 "ports --app from$1" length 30 15
	for port in $(seq "$1" $(($1 + 29))); do
		assert on client nc -z -w 20 $VIP "$port"
	done
}
cat >"$NETDIR/share/listen.py" <<'EOF2'
import signal, socket, sys
held = []
for port in range(int(sys.argv[1]), int(sys.argv[1]) + 30):
    s = socket.socket()
    s.bind(("0.0.0.0", port))
    s.listen()
    held.append(s)
signal.pause()
EOF2

step "the disk of a voter fills up: it says so, and claims go on"
fill n2
full_text='failed: the disk has not taken the replicated log for 2 s: it is full; free space in /var/lib/netssi'
wait_for "n2 says that something is wrong" 10 noticed n1 n2
assert says n2 "$full_text"
assert_match "$(get n2 status '.[0].problems[0].remedy')" 'free space'
assert_match "$(cluster log n2)" 'the disk has not taken the replicated log for 2 s: it is full; free space'
wait_get n1 nodes '.[] | select(.node == "n2") | "\(.state) \(.serving)"' 'up false' 10
wait_for "n1 to say so" 15 says n1 'node n2 takes no part in the data path'
on n1 netctl port add :7001 node n1
wait_get n3 "ports :7001" '.[0].node' n1
opens 8000
for port in 9000 9001 9002 9003 9004 9005; do assert refused $port; done
wait_for "an answer still" 2 answers

step "... and it is as before when there is room again"
on n2 rm /var/lib/netssi/fill
wait_for "all to be well" 20 all_well
wait_get n2 "ports :7001" '.[0].node' n1
wait_get n2 nodes '.[] | select(.node == "n2").serving' true
assert_match "$(cluster log n2)" 'the disk takes the log again'

step "the disk of the leader fills up: another one leads"
was=$(leader n1)
fill "$was"
other=n1
[ "$was" != n1 ] || other=n2
led_by_another() { a_leader_but $other "$was" || { work $other; false; }; }
wait_for "another leader" 20 led_by_another
wait_for "$was says that its disk is full" 10 noticed $other "$was"
on $other netctl port add :7002 node $other
wait_for "an answer still" 2 answers
on "$was" rm /var/lib/netssi/fill
wait_for "all to be well" 20 all_well
wait_get "$was" "ports :7002" '.[0].node' $other

step "most disks are full: what runs goes on, nothing is granted, and that is said"
was=$(leader n1)
mapfile -t full < <(for n in $NODES; do [ "$n" = "$was" ] || echo "$n"; done)
full=("${full[@]:0:$((many / 2 + 1))}")
echo "$was leads, full: ${full[*]}"
for n in "${full[@]}"; do fill "$n"; done
wait_for "$was to notice" 20 noticed "$was" "$was"
assert says "$was" 'nothing can be changed: the disks of most voters have no room .*other voters'
ports=$(get "$was" ports '[.[] | "\(.port) \(.node) \(.epoch)"] | sort | join(",")')
rc=0
on "$was" netctl port add :7003 node n1 >"$TMP/out" 2>"$TMP/err" || rc=$?
cat "$TMP/err"
assert_eq $rc 3 "exit status"
assert_eq "$(wc -l <"$TMP/err")" 1 "lines of error"
[ ! -s "$TMP/out" ] || fail "an error printed a result"
wait_for "an answer still" 2 answers
assert refused 9000

step "... with room again all is there, what was refused is not"
for n in "${full[@]}"; do on "$n" rm /var/lib/netssi/fill; done
wait_for "all to be well" 30 all_well
for n in $NODES; do
	wait_get "$n" ports '[.[] | "\(.port) \(.node) \(.epoch)"] | sort | join(",")' "$ports"
done
assert_eq "$(for n in $NODES; do raft_id "$n"; done)" "$ids" "raft ids"
on n2 netctl port add :7003 node n1
wait_for "an answer still" 2 answers
