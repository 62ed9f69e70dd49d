#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 1500
# Real servers with real clients: each moves round and round the nodes under load. No connection is reset, no byte is wrong,
# no request is lost. PROGRAMS="redis nginx" MOVES=6 for less.
. "${TEST_TOP:?}/tests/net/lib.sh"
. "$TEST_TOP/tests/net/programs.sh"
: "${PROGRAMS:=redis nginx iperf udp python}"
cluster_up
cluster_vip
tmpdir

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

files
for program in $PROGRAMS; do
	step "$program"
	"${program}_moves"
done
