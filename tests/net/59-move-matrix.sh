#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 1500
# Every step of a move x everything that may break then. n1 moves its server to n3; CRIU on either waits at a gate (a
# file), so that the record stands at a known step when the fault comes. Whatever becomes of the move: the server runs in
# one place, its clients go on on the same connections, nothing is left behind. CASES="prepared kill-netd n1" for some, a line each.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
for n in n1 n3; do
	# shellcheck disable=SC2016
	on $n sh -c 'printf "%s\n" "#!/bin/sh" "while [ -e /run/shut ]; do sleep 0.05; done" "exec /opt/criu-testing/criu \"\$@\"" \
		>/etc/netssi/criu; chmod +x /etc/netssi/criu; echo "criu = /etc/netssi/criu" >/etc/netssi/netd.conf'
	cluster netd $n stop
	cluster netd $n start
done
cluster_vip
# A fault that passes is no death.
on n1 netctl set lease_ms 20000
tmpdir

# step: on whose gate it waits, so far
table="
prepared       kill-netd n1
prepared       kill-netd n3
prepared       kill-criu n1
prepared       stop-netd n1
prepared       stop-netd n3
prepared       cut n1
prepared       cut n3
prepared       delay n1
prepared       delay n3
prepared       full n1
prepared       full n3
prepared       new-leader
image-complete kill-netd n1
image-complete kill-netd n3
image-complete kill-criu n1
image-complete kill-criu n3
image-complete stop-netd n1
image-complete stop-netd n3
image-complete cut n1
image-complete cut n3
image-complete delay n1
image-complete delay n3
image-complete full n3
image-complete new-leader
"

# ---- faults: the fault, then what ends it -----------------------------------------------------------
leader() { get n2 nodes '.[] | select(.leader) | .node'; }
other_leader() { local l; l=$(leader 2>/dev/null) && [ -n "$l" ] && [ "$l" != "$was" ]; }
# What comes late has mostly been sent again.
stutter() { local i; for i in 1 2 3 4 5 6; do cluster cut "$1"; on client sleep 0.2; cluster heal "$1"; on client sleep 0.1; done; }
fault()
{
	case $1 in
	kill-netd) cluster netd "$2" kill ;;
	kill-criu) on "$2" pkill -KILL -f 'criu.*( swrk|--rpc)' ;;
	stop-netd) on "$2" pkill -STOP -x netd ;;
	cut) cluster cut "$2" ;;
	delay) stutter "$2" & stutter=$! ;;
	full) on "$2" sh -c "mkdir -p /run/netssi/images; mount -t tmpfs -o size=300k none /run/netssi/images" ;;
	new-leader)
		was=$(leader)
		on "$was" pkill -STOP -x netd
		[ "$was" = n2 ] || wait_for "another leader" 30 other_leader
		;;
	esac
}
mend()
{
	case $1 in
	kill-netd) cluster netd "$2" start ;;
	stop-netd) on "$2" pkill -CONT -x netd ;;
	cut) cluster heal "$2" ;;
	delay) wait $stutter ;;
	full)
		on "$2" umount -l /run/netssi/images
		hidden=$2
		;;
	new-leader) on "$was" pkill -CONT -x netd ;;
	esac
}

# ---- what must be so afterwards ------------------------------------------------------------------------
count() { sed -n 's/^\([0-9]*\),.*/\1/p' "$TMP/count" | tail -n 1; }
counts_past() { [ "$(count)" -gt "$1" ]; }
goes_on()
{
	kill -0 "$COUNTER" 2>/dev/null || fail "connections broke: $(cat "$TMP/count.err") $(tail -n 1 "$TMP/count")"
	wait_for "the client counts on" 40 counts_past "$(($(count) + 20))"
}
settled() { for n in n1 n2 n3; do same_value $n moves length 0 && same_value $n apps '.[0].state' running || return 1; done; }
copies() { local n sum=0; for n in n1 n2 n3; do sum=$((sum + $(on $n pgrep -c -x redis-server || :))); done; echo $sum; }
one_copy() { [ "$(copies)" = 1 ]; }
at() { get n2 apps '.[0].node'; }
all_up() { same_value n2 nodes '[.[] | select(.state == "up")] | length' 3; }
clean()
{
	local n
	[ "$(on "$(at)" pgrep -c -x redis-server || :)" = 1 ] || return 1
	for n in n1 n2 n3; do
		[ "$(on $n sh -c 'ls /run/netssi/images 2>/dev/null | wc -l')" = 0 ] || return 1
		[ -z "$(on $n sh -c 'nft list tables | grep CRIU; pgrep -f "[c]riu.*( swrk|--rpc)"')" ] || return 1
		[ "$n" = "$(at)" ] || [ -z "$(on $n ls /run/netssi/apps)" ] || return 1
		same_value $n "ports :6379" '.[0] | "\(.node) \(.state)"' "$(at) owned" || return 1
	done
}
step_is() { same_value n2 moves '.[0].step' "$1"; }

try()
{
	local step=$1 gate=n1 hidden=''
	shift
	step "$step: $*"
	[ "$step" = prepared ] || gate=n3
	on $gate touch /run/shut
	on n2 netctl migrate redis-server n3 >"$TMP/move" 2>&1 &
	wait_for "the step" 20 step_is "$step"
	gated() { on $gate pgrep -f 'criu.*( swrk|--rpc)' >/dev/null; }
	wait_for "CRIU at its gate" 20 gated
	fault "$@"
	on $gate rm -f /run/shut
	case $1 in stop-netd | cut | new-leader) goes_or_waits ;; esac
	mend "$@"
	wait $! || :
	wait_for "all nodes" 40 all_up
	wait_for "the move is over" 40 settled
	wait_for "one copy" 20 one_copy
	goes_on
	# What lay below the full file system when the move ended, nobody there could remove.
	[ -z "$hidden" ] || on "$hidden" rm -rf /run/netssi/images/redis-server
	wait_for "nothing is left" 20 clean
	echo "it is on $(at): $(tail -n 1 "$TMP/move")"
	[ "$(at)" = n1 ] || on n1 netctl migrate redis-server n1 >"$TMP/back" 2>&1 || fail "it does not move back: $(cat "$TMP/back")"
	wait_for "it is over" 20 settled
}
# The fault lasts while the move could go on without what it took away.
goes_or_waits() { on client sleep 1; }

redis n1
wait_for "an answer" 5 answers
count_begin -i 5 -c 3
while read -r line; do
	[ -n "$line" ] || continue
	# shellcheck disable=SC2086
	try $line
done <<<"${CASES:-$table}"
step "the clients noticed nothing but pauses"
count_end
