#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Metrics of a node by HTTP: what they say is so, they are well formed, and nobody can hold netd up by them.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir
redis n2
wait_for "the server answers" 10 answers

step "off without an address"
assert_fails 7 on n2 curl -s --max-time 5 http://10.77.0.2:9478/metrics

step "on"
on n2 sh -c 'echo "metrics = 10.77.0.2:9478" >>/etc/netssi/netd.conf'
cluster netd n2 stop
cluster netd n2 start
wait_get n2 "ports :6379" '.[0].node' n2
scrape() { on n1 curl -sf --max-time 10 http://10.77.0.2:9478/metrics >"$TMP/metrics"; }
metric() { sed -n "s/^netssi_$1 //p" "$TMP/metrics"; }
wait_for "metrics" 10 scrape
up() { scrape && [ "$(metric 'state{state="up"}')$(metric vips_exposed)" = 11 ]; }
wait_for "it is up" 10 up

step "what they say"
assert_eq "$(metric 'nodes{state="up"}')" 3
assert_eq "$(metric quorum)" 1
assert_eq "$(metric vips_exposed)" 1
assert_eq "$(metric 'objects{set="ports"}')" 1
label='vip="10.77.0.100",proto="tcp",port="6379",app="redis-server"'
before=$(metric "port_packets_total{$label,dir=\"in\"}")
for _ in 1 2 3; do cli PING >/dev/null; done
scrape
[ "$(metric "port_packets_total{$label,dir=\"in\"}")" -ge $((before + 9)) ] || fail "three calls were not counted"
[ "$(metric 'packets_total{dir="in",vip="10.77.0.100",verdict="ACCEPT",reason="OWNED"}')" -gt 0 ]

step "well formed: each line a sample of a family that was announced, none twice"
awk '
	/^# HELP netssi_[a-z_]+ ./ { help[$3] = 1; next }
	/^# TYPE netssi_[a-z_]+ (gauge|counter)$/ { if (!help[$3] || type[$3]++) print "bad type: " $0; next }
	!/^netssi_[a-z_]+(\{([a-z]+="[^"]*",?)+\})? -?[0-9.e+]+$/ { print "bad line: " $0; next }
	{ name = $1; sub(/\{.*/, "", name); sample = $0; sub(/ [^ ]*$/, "", sample)
	  if (!type[name]) print "no family: " $0; if (seen[sample]++) print "twice: " $0
	  if (name ~ /_total$/) n++ }
	END { if (!n) print "no counter" }' "$TMP/metrics" >"$TMP/wrong"
[ ! -s "$TMP/wrong" ] || fail "$(cat "$TMP/wrong")"

step "a node that is cut off says so"
cluster cut n2
gone() { on n2 curl -sf --max-time 10 http://10.77.0.2:9478/metrics >"$TMP/metrics" && [ "$(metric quorum)" = 0 ]; }
wait_for "no quorum" 20 gone
assert_eq "$(metric healthy)" 0
cluster heal n2
wait_for "it is back" 30 up

step "other questions, and those that only hold on"
assert_eq "$(on n1 curl -s -o /dev/null -w '%{http_code}' http://10.77.0.2:9478/)" 404
assert_eq "$(on n1 curl -s -o /dev/null -w '%{http_code}' -X POST -d x http://10.77.0.2:9478/metrics)" 405
on n1 sh -c 'for i in $(seq 100); do sleep 30 | timeout 30 nc 10.77.0.2 9478 >/dev/null 2>&1 & done'
wait_for "an answer in spite of them" 40 scrape
on n2 timeout 5 netctl nodes >/dev/null
on n1 pkill -x nc || : # netd may have hung up on all of them by now

step "an address that cannot be is said, and netd goes on without"
on n2 sh -c 'sed -i "s/^metrics.*/metrics = 192.0.2.1:9478/" /etc/netssi/netd.conf'
cluster netd n2 stop
cluster netd n2 start
wait_get n2 nodes '[.[] | select(.state == "up")] | length' 3 20
has 'no metrics at 192.0.2.1:9478: Cannot assign requested address' <"$NETDIR/log/n2/netd.log" || fail "not a word about it"
