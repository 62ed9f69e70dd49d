#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 1500
# Real servers with real clients: each moves round and round the nodes under load. No connection is reset, no byte is wrong,
# no request is lost. PROGRAMS="redis nginx" MOVES=6 for less.
. "${TEST_TOP:?}/tests/net/lib.sh"
: "${MOVES:=20}" "${PROGRAMS:=redis nginx iperf udp python}"
cluster_up
cluster_vip
tmpdir

# NAME: to each node in turn, MOVES times
round()
{
	local i from to at=1
	for ((i = 1; i <= MOVES; i++)); do
		from=n$at at=$((at % 3 + 1)) to=n$at
		on n1 netctl migrate "$1" $to -j 2>"$TMP/err" >"$TMP/move" || fail "move $i of $1: $(cat "$TMP/err")"
		jq -r '.[0] | "'"$i $from"' -> \(.node): stood still \(.frozen_ms | floor) ms, \(.sockets) connections, \(.bytes / 1024 | floor) KiB"' "$TMP/move"
		wait_get $to "apps" '.[] | select(.app == "'"$1"'") | "\(.node) \(.state)"' "$to running"
		load_lives
	done
}
# LOAD CMD...: on the client until `over`; it must not end before
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
# The loads have until now been without an error; they end well, too, when they are told by /run/over.
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
		assert_eq "$(on $n sh -c 'ls /run/netssi/images 2>/dev/null | wc -l')" 0 "images on $n"
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

redis_moves()
{
	redis n1
	wait_for "an answer" 5 answers
	load benchmark sh -c 'timeout 900 redis-benchmark -h '$VIP' -c 20 -r 1000 -l -t set,get,incr,lpush,lrange_100 & b=$!
		while [ ! -e /run/over ]; do kill -0 $b || exit 1; sleep 0.1; done; kill $b'
	load count sh -c 'count-client -i 3 -c 8 '$VIP' & c=$!
		while [ ! -e /run/over ]; do kill -0 $c || exit 1; sleep 0.1; done; kill $c; wait $c'
	round redis-server
	! grep -i error "$TMP/benchmark.err" || fail "$(cat "$TMP/benchmark.err")"
	over
	end redis-server
}

web_loads()
{
	downloads >"$TMP/downloads"
	on client sh -c 'cat >/run/downloads' <"$TMP/downloads"
	load large bash -o pipefail /run/downloads "http://$VIP:$1" large --limit-rate 8M
	load large-close bash -o pipefail /run/downloads "http://$VIP:$1" large --limit-rate 5M -H 'Connection: close'
	load small-close bash -o pipefail /run/downloads "http://$VIP:$1" small -H 'Connection: close'
}
nginx_moves()
{
	local n
	for n in n1 n2 n3; do # all as root: a container may lack CAP_SYS_RESOURCE, which CRIU wants for others
		on $n sh -c 'printf "%s\n" "user root; worker_processes 2; daemon off; pid /run/web.pid; error_log stderr;" \
			"events { }" "http { access_log off; server { listen 8080; root /srv/www; } }" >/etc/web.conf; chmod -R a+rX /srv'
	done
	on n1 ssi-run --detach --name web nginx -c /etc/web.conf
	wait_for "port 8080" 10 port_open 8080
	web_loads 8080
	# shellcheck disable=SC2016
	load wrk sh -c 'while [ ! -e /run/over ]; do wrk -t 1 -c 8 -d 5 --timeout 20 http://'$VIP':8080/small >/run/wrk || exit 1
		! grep -e "Socket errors" -e Non-2xx /run/wrk || { cat /run/wrk >&2; exit 1; }; done; cat /run/wrk'
	round web
	over
	end web QUIT
}

python_moves()
{
	on n1 sh -c 'cd /srv/www && exec ssi-run --detach --name python python3 -m http.server 8081' >"$TMP/out"
	wait_for "port 8081" 10 port_open 8081
	web_loads 8081
	round python
	over
	end python KILL
}

iperf_moves()
{
	on n1 ssi-run --detach --name iperf iperf3 -s -p 5201
	wait_for "port 5201" 10 port_open 5201
	for way in "" -R; do
		# shellcheck disable=SC2016
		load "iperf$way" sh -c 'iperf3 -c '$VIP' '$way' -t 1000 -b 300M & i=$!
			while [ ! -e /run/over ]; do kill -0 $i || exit 1; sleep 0.1; done; kill -INT $i; wait $i; exit 0'
		MOVES=$((MOVES / 2)) round iperf
		! grep -i error "$TMP/iperf$way.err" || fail "$(cat "$TMP/iperf$way.err")"
		over
		on n1 netctl migrate iperf n1
	done
	end iperf
}

udp_moves()
{
	on n1 ssi-run --detach --name echo count-udp -l $VIP 7100
	wait_get n3 "ports :7100/udp" '.[0].node' n1
	load udp sh -c 'count-udp -i 2 '$VIP' 7100 & c=$!
		while [ ! -e /run/over ]; do kill -0 $c || exit 1; sleep 0.1; done; kill $c; wait $c; exit 0'
	round echo
	over
	# the network may deliver a datagram twice, and so may a move: an answer that nobody waits for any more
	assert_match "$(tail -n 1 "$TMP/udp.out")" 'lost=0 refused=0'
	end echo
}

LOADS=()
files
for program in $PROGRAMS; do
	step "$program"
	"${program}_moves"
done
