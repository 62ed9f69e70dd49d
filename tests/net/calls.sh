# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes the calls of calls.table on one plain machine and on the cluster, and compares what programs see, line by line:
#
#	calls_compare synchronous|asynchronous	does listen() wait for the cluster?
#
# The plain machine is a network namespace of the client's with all the addresses, in which both programs run. On the
# cluster they run as applications on n1 and n2, with $VIP and $VIP6. Before each call the nodes know what the last one
# changed; what two nodes do in the same moment is tested elsewhere.
. "${TEST_TOP:?}/tests/net/lib.sh"

VIP6=fd77::100
CALLS_PORT=21000
declare -A calls_in calls_out

# calls_start NAME CMD...: a program that is told what to do
calls_start()
{
	local name=$1 in out
	shift
	mkfifo "$TMP/$name.in" "$TMP/$name.out"
	"$@" <"$TMP/$name.in" >"$TMP/$name.out" 2>"$TMP/$name.err" &
	exec {in}>"$TMP/$name.in" {out}<"$TMP/$name.out"
	calls_in[$name]=$in calls_out[$name]=$out
}

# tell NAME CALL: its answer is in $REPLY
tell()
{
	echo "$2" >&"${calls_in[$1]}"
	read -r -t $((60 * ${SLACK:-5})) REPLY <&"${calls_out[$1]}" || fail "$1 does not answer to '$2': $(cat "$TMP/$1.err")"
}

calls_plain_machine()
{
	on client sh -ec '
		ip netns add plain
		ip netns exec plain sh -ec "
			ip link set lo up
			sysctl -qw net.ipv4.ip_local_reserved_ports=
			for addr in $0/32 10.77.0.1/32 10.77.0.2/32 $1/128 fd77::1/128 fd77::2/128; do
				ip addr add \$addr dev lo
			done"' $VIP $VIP6
}

# Names for addresses, and addresses for names, as program a or b sees them.
calls_names()
{
	local own=1 other=2
	[ "$1" = a ] || own=2 other=1
	echo "ANY4 0.0.0.0 VIP4 $VIP LO4 127.0.0.1 NODE4 10.77.0.$own OTHER4 10.77.0.$other"
	echo "ANY6 :: VIP6 $VIP6 LO6 ::1 NODE6 fd77::$own OTHER6 fd77::$other"
	echo "P $CALLS_PORT Q $((CALLS_PORT + 1)) R $((CALLS_PORT + 2)) S $((CALLS_PORT + 3))"
}

# translate PROGRAM WORD...: names to what they stand for
translate()
{
	local who=$1 word out='' i names
	shift
	read -r -d '' -a names < <(calls_names "$who") || :
	for word; do
		for ((i = 0; i < ${#names[@]}; i += 2)); do
			[ "$word" != "${names[i]}" ] || { word=${names[i + 1]}; break; }
		done
		out+="$word "
	done
	REPLY=${out% }
}

# ... and back, in one word
name_of()
{
	local i names mapped='' word=$2
	read -r -d '' -a names < <(calls_names "$1") || :
	case $word in ::ffff:*) mapped=::ffff: word=${word#::ffff:} ;; esac
	for ((i = 0; i < 20; i += 2)); do
		[ "$word" != "${names[i + 1]}" ] || { word=${names[i]}; break; }
	done
	REPLY=$mapped$word
}

# What the programs have is what all nodes know.
calls_settled()
{
	local who node want='' port
	for who in a b; do
		tell cluster-$who claims
		node=n1
		[ $who = a ] || node=n2
		for port in $REPLY; do
			want+="$port $node"$'\n'
		done
	done
	want=$(sort -u <<<"$want" | sed '/^$/d')
	for node in n1 n2; do
		[ "$(get $node ports '.[] | select(.state == "owned" and .port < 32768) | "\(.proto)/\(.port) \(.node)"' |
			sort -u)" = "$want" ] || return 1
	done
}

changes() { case $1 in bind | listen | close | shutdown | io_bind | io_listen) ;; *) return 1 ;; esac; }

# calls_line MODE PROGRAM CALL... [!= RESULT WHY] [~ RESULT WHY]
calls_line()
{
	local mode=$1 who=$2 call=() differs='' raced='' why='' plain cluster want said
	shift 2
	while [ $# -gt 0 ]; do
		case $1 in
		!=) differs=$2 why=$3; shift 3 ;;
		'~') raced=$2; [ "$mode" = synchronous ] || why=$3; shift 3 ;;
		*) call+=("$1"); shift ;;
		esac
	done
	translate "$who" "${call[@]}"
	said=$REPLY
	tell plain-"$who" "$said"
	name_of "$who" "$REPLY"
	plain=$REPLY
	tell cluster-"$who" "$said"
	name_of "$who" "$REPLY"
	cluster=$REPLY
	want=${differs:-$plain}
	[ "$mode" = synchronous ] || want=${raced:-$want}
	[ "$cluster" != "$plain" ] || [ -n "$raced" ] || why=''
	printf '%-40s %-14s %-14s %s\n' "$who ${call[*]}" "$plain" "$cluster" "$why"
	if [ "$cluster" != "$want" ]; then
		echo "^^^^ wanted from the cluster: $want"
		calls_wrong=$((calls_wrong + 1))
	elif [ -n "$differs" ] && [ "$differs" = "$plain" ]; then
		echo "^^^^ the table names a difference that is none"
		calls_wrong=$((calls_wrong + 1))
	elif [ -n "$why" ] && ! has "^- \*\*$why\*\*" <"$TEST_TOP/docs/OPERATIONS.md"; then
		echo "^^^^ the manual does not say why: $why"
		calls_wrong=$((calls_wrong + 1))
	fi
	! changes "${call[0]}" || [ "$cluster" != ok ] || wait_for "the nodes to know: $who ${call[*]}" 20 calls_settled
}

calls_case()
{
	local name
	for name in plain-a plain-b cluster-a cluster-b; do
		tell $name reset
	done
	wait_for "nobody to have a port" 20 calls_settled
	CALLS_PORT=$((CALLS_PORT + 4))
	echo "---- $*"
}

calls_ready()
{
	on "$1" ip route get 10.77.0.250 mark 0x535349 | has "src $VIP " &&
		on "$1" ip -6 route get fd77::250 mark 0x535349 | has "src $VIP6 "
}

calls_compare()
{
	local mode=$1 program=$2 lines line words calls_wrong=0 n=0 node
	calls_plain_machine
	for node in n1 n2; do
		wait_for "$node calls from the cluster's addresses" 20 calls_ready $node
	done
	calls_start plain-a on client ip netns exec plain "$program"
	calls_start plain-b on client ip netns exec plain "$program"
	calls_start cluster-a on n1 ssi-run --name a "$program"
	calls_start cluster-b on n2 ssi-run --name b "$program"
	printf '%-40s %-14s %-14s %s\n' call "one machine" cluster "why it differs"
	mapfile -t lines <"$TEST_TOP/tests/net/calls.table"
	for line in "${lines[@]}"; do
		read -r -a words <<<"$line"
		case ${words[0]-} in
		'' | '#'*) ;;
		case) calls_case "${words[@]:1}" ;;
		*) n=$((n + 1)); calls_line "$mode" "${words[@]}" ;;
		esac
	done
	[ $calls_wrong = 0 ] || fail "$calls_wrong of $n calls went otherwise than the table says"
	echo "$n calls compared"
}
