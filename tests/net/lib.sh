# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# For test scripts that want a cluster of nodes, on top of tests/lib.sh. A script in tests/net gets one
# of namespaces for itself; one that finds CLUSTER set uses those nodes (tests/vm, the demo).
#
#	cluster_up [N]			nodes n1..nN (NODES, 3) and client, in no cluster yet
#	cluster_form [N]		netd on n1..nN is one cluster: init, token, join
#	cluster_vip			... and exposes $VIP
#	expose				only that
#	on NODE CMD...			runs CMD there
#	get NODE CMD JQ-FILTER		one value out of `netctl CMD -j`
#	wait_get NODE CMD JQ-FILTER VALUE [SECONDS]	until that value is VALUE
#	redis NODE [SSI-RUN-OPTION...]	a redis server as application, reachable on $VIP
#	cli ARG...			redis-cli on the client through $VIP
#	count_begin OPTION...		count-client on the client, in the background as $COUNTER, told by $TMP/count
#	count_end			... ends; it noticed nothing but pauses
#	refused PORT [FROM]		a connection from the client (FROM) to $VIP is refused, not met with silence
#	refused_at_once PORT		... within 500 ms, measured where it happens, the best of three
#	documented COMMAND		the lines of docs/OPERATIONS.md that begin with it, for $VIP
#	error_lines FILE		how many lines netctl wrote, but for what it says while something takes long
#	now_ms				milliseconds of the clock
. "${TEST_TOP:?}/tests/lib.sh"

VIP=10.77.0.100

cluster() { "$CLUSTER" "$@"; }

cluster_up()
{
	if [ -z "${CLUSTER-}" ]; then
		CLUSTER=$TEST_TOP/tests/net/cluster
		export NETDIR=$TEST_O/net/$TEST_NAME O=$TEST_O
		at_exit cluster_over
		cluster up --nodes "${1:-${NODES:-3}}" --owner $$
	else
		cluster_fresh "${1:-${NODES:-3}}"
	fi
}

# Nodes that other tests used are as new.
cluster_fresh()
{
	local i
	for ((i = 1; i <= $1; i++)); do
		cluster start "n$i"
		cluster heal "n$i"
		on "n$i" sh -c '[ -e /var/lib/netssi/identity ] || [ -e /etc/netssi/key ]' || continue
		on "n$i" sh -c 'rm -rf /var/lib/netssi/* /etc/netssi/key; sync'
		cluster kill "n$i"
	done
	for ((i = 1; i <= $1; i++)); do
		cluster start "n$i" &
	done
	wait
}

# Shows what netd said when the test failed; then all is gone.
cluster_over()
{
	local node
	if [ "${rc:-0}" != 0 ] && [ "${rc:-0}" != 77 ]; then
		for node in n1 n2 n3; do
			echo "---- netd on $node:"
			tail -n "${NETD_LINES:-30}" "$NETDIR/log/$node/netd.log" 2>/dev/null || :
		done
	fi
	cluster down
}

on()
{
	local node=$1
	shift
	cluster exec "$node" -- "$@"
}

error_lines() { grep -cv '^netctl: .* \.\.\.$' "$1" || :; }
now_ms() { local t=$EPOCHREALTIME; echo $((${t//[!0-9]/} / 1000)); }

get()
{
	local node=$1 filter=$3
	# shellcheck disable=SC2086
	on "$node" netctl $2 -j | jq -r "$filter"
}

same_value() { [ "$(get "$1" "$2" "$3" 2>/dev/null)" = "$4" ]; }

wait_get() { wait_for "netctl $2 on $1: $3 = $4" "${5:-10}" same_value "$1" "$2" "$3" "$4"; }

# talk_to APP PORT: from then on `ask WORD...` says a line to it, and prints what it answers, until a line "."
talk_to()
{
	asked=$1
	coproc CONTROL { on client socat - "tcp:$VIP:$2"; }
}

ask()
{
	local line
	echo "$*" >&"${CONTROL[1]}"
	while read -r -t 60 line <&"${CONTROL[0]}" && [ "$line" != . ]; do
		echo "$line"
	done
	[ "$line" = . ] || fail "no answer to '$*': $(on n1 netctl logs "$asked")"
}

# BEARER=eth0: over TIPC
cluster_form()
{
	local n=${1:-${NODES:-3}} i
	on n1 netctl init ${BEARER:+--bearer "$BEARER"}
	for ((i = 2; i <= n; i++)); do
		on n1 netctl token | on "n$i" netctl join 10.77.0.1 ${BEARER:+--bearer "$BEARER"} --token-file -
	done
	for ((i = 1; i <= n; i++)); do
		wait_get "n$i" nodes '[.[] | select(.state == "up")] | length' "$n" 20
	done
}

# On a slow kernel (SLOW) the data path loads for longer than a lease lasts, and than netctl waits for it.
expose()
{
	if [ "${SLOW:-1}" = 1 ]; then
		on n1 netctl vip add $VIP/24
		return
	fi
	on n1 netctl set lease_ms 60000
	wait_for "$VIP is exposed" 20 on n1 netctl vip add $VIP/24
}

cluster_vip()
{
	local i
	cluster_form "${1:-${NODES:-3}}"
	expose
	for ((i = 1; i <= ${1:-${NODES:-3}}; i++)); do
		wait_get "n$i" vips '.[0].addr' $VIP
	done
}

redis()
{
	local node=$1
	shift
	on "$node" ssi-run --detach "$@" redis-server --port 6379 --protected-mode no --save ''
}

cli() { on client timeout 20 redis-cli -h $VIP "$@"; }
owner_is() { same_value "$1" "ports :6379" '.[0].node' "$2"; }
no_owner() { same_value "$1" "ports :6379" 'length' 0; }
answers() { [ "$(on client timeout 2 redis-cli -h $VIP PING 2>/dev/null)" = PONG ]; }

refused() { { on "${2:-client}" nc -v -n -z -w 20 $VIP "$1" 2>&1 || :; } | has 'Connection refused'; }
refused_at_once()
{
	local try ms
	for try in 1 2 3; do
		# shellcheck disable=SC2016
		ms=$(on client timeout 20 bash -c 'at=${EPOCHREALTIME//[!0-9]/}
			! { : 3<>/dev/tcp/$0/$1; } 2>/dev/null || exit 1
			echo $(((${EPOCHREALTIME//[!0-9]/} - at) / 1000))' $VIP "$1") || return
		echo "port $1: refused after $ms ms (try $try)"
		[ "$ms" -ge 500 ] || return 0
	done
	return 1
}

documented() { sed -n "/^    $1/{s/^ *//;s/ *  #.*//;s/192\.0\.2\.100/$VIP/;p}" "$TEST_TOP/docs/OPERATIONS.md" | grep .; }

counting() { [ -s "$TMP/count" ] && grep -q '^[0-9]' "$TMP/count"; }
count_begin()
{
	on client count-client "$@" $VIP >"$TMP/count" 2>"$TMP/count.err" &
	COUNTER=$!
	wait_for "the client counts" 5 counting
}
count_end()
{
	on client pkill -TERM -x count-client
	wait $COUNTER || fail "connections broke: $(cat "$TMP/count.err") $(tail -n 1 "$TMP/count")"
	tail -n 1 "$TMP/count"
}
