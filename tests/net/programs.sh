# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# For tests that move real programs round and round the nodes under load, on top of tests/net/lib.sh, `cluster_up` and
# `tmpdir`. MOVES=6 for less than 20.
#
#	round APP [HOOK]		to each node in turn, MOVES times; HOOK after each move
#	load NAME CMD...		on the client until `over` (the file /run/over appears); it must not end before
#	over				until now the loads have been without an error; they end well, too
#	end APP [SIGNAL]		nothing is left behind
#	port_open PORT
#	files				/srv/www/large and small, random, the same everywhere
#	web_loads PORT			downloads of them, compared
: "${MOVES:=20}"
LOADS=()

round()
{
	local i from to at=1
	for ((i = 1; i <= MOVES; i++)); do
		from=n$at at=$((at % 3 + 1)) to=n$at
		on n1 netctl migrate "$1" $to -j 2>"$TMP/err" >"$TMP/move" || fail "move $i of $1: $(cat "$TMP/err")"
		jq -r '.[0] | "'"$i $from"' -> \(.node): stood still \(.frozen_ms | floor) ms, \(.sockets) connections, \(.bytes / 1024 | floor) KiB"' "$TMP/move"
		wait_get $to "apps" '.[] | select(.app == "'"$1"'") | "\(.node) \(.state)"' "$to running"
		load_lives
		"${@:2}"
	done
}

load()
{
	local name=$1
	shift
	on client "$@" >"$TMP/$name.out" 2>"$TMP/$name.err" &
	LOADS+=("$name:$!")
}

load_lives()
{
	local l
	for l in "${LOADS[@]}"; do
		kill -0 "${l#*:}" 2>/dev/null || fail "${l%:*} ended: $(tail -n 5 "$TMP/${l%:*}.out" "$TMP/${l%:*}.err")"
	done
}

over()
{
	local l rc
	load_lives
	on client touch /run/over
	for l in "${LOADS[@]}"; do
		rc=0
		wait "${l#*:}" || rc=$?
		[ $rc = 0 ] || fail "${l%:*} ended with $rc: $(tail -n 5 "$TMP/${l%:*}.out" "$TMP/${l%:*}.err")"
		tr '\r' '\n' <"$TMP/${l%:*}.out" | tail -n 1
	done
	on client rm -f /run/over
	LOADS=()
}

end()
{
	on n1 netctl signal "$1" "${2-TERM}"
	ended() { [ "$(get n1 apps 'map(select(.app == "'"$1"'")) | length')" = 0 ]; }
	wait_for "the end of $1" 20 ended "$1"
	for n in n1 n2 n3; do
		no_images() { [ "$(on $n sh -c 'ls /run/netssi/images 2>/dev/null | wc -l')" = 0 ]; }
		wait_for "no images on $n" 5 no_images
	done
}

port_open() { on client nc -z -w 2 $VIP "$1"; }

# Files of random bytes, the same on all nodes.
files()
{
	local n
	mkdir "$TMP/www"
	head -c 6000000 /dev/urandom >"$TMP/www/large"
	head -c 20000 /dev/urandom >"$TMP/www/small"
	(cd "$TMP/www" && sha256sum large small >sums)
	for n in n1 n2 n3 client; do
		tar -C "$TMP" -c www | on $n tar -C /srv -xp
	done
}
# Downloads, compared; as many at once as there are words: "NAME FILE CURL-OPTION..." each
downloads()
{
	cat <<-'END'
	n=0
	sum=$(sed -n "s/ *$2\$//p" /srv/www/sums)
	url=$1/$2
	shift 2
	while [ ! -e /run/over ]; do
		got=$(curl -sS --fail --max-time 60 "$@" "$url" | sha256sum | sed 's/ .*//') || exit 1
		[ "$got" = "$sum" ] || { echo "download $n: wrong bytes" >&2; exit 1; }
		n=$((n + 1))
	done
	echo "$n downloads"
	END
}

web_loads()
{
	downloads >"$TMP/downloads"
	on client sh -c 'cat >/run/downloads' <"$TMP/downloads"
	load large bash -o pipefail /run/downloads "http://$VIP:$1" large --limit-rate 8M
	load large-close bash -o pipefail /run/downloads "http://$VIP:$1" large --limit-rate 5M -H 'Connection: close'
	load small-close bash -o pipefail /run/downloads "http://$VIP:$1" small -H 'Connection: close'
}
