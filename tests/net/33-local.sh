#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A listener on the loopback only is no claim: it is shown as local, and ssi-run says so once.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 2
cluster_vip 2
tmpdir

on n1 ssi-run --name quiet nc -lk 127.0.0.1 7000 >"$TMP/out" 2>"$TMP/err" &
wait_get n2 "ports :7000" '.[0] | "\(.node) \(.state) \(.addr)"' "n1 local 127.0.0.1"
wait_for "one line from ssi-run" 5 grep -q 'loopback' "$TMP/err"
assert_eq "$(grep -c loopback "$TMP/err")" 1 "lines about it"
assert refused 7000
assert_eq "$(get n2 "explain 10.77.0.250 $VIP:7000" '.[0] | "\(.reason) \(.owner) \(.state) \(.addr)"')" "HOME n1 local 127.0.0.1"
on n2 netctl explain 10.77.0.250 $VIP:7000 | has 'not exposed: n1, application quiet, .* bound to 127.0.0.1; let it listen'

step "the same loopback port on another node is no conflict"
on n2 ssi-run --detach --name quiet2 nc -lk 127.0.0.1 7000
wait_get n1 "ports :7000" '[.[].node] | sort | join(" ")' "n1 n2"

step "a listener on :: is one of IPv4, too, also where no cluster address is of IPv6; one of IPv6 only is none"
on n1 ssi-run --detach --name only6 socat TCP6-LISTEN:7001,ipv6only=1,fork EXEC:cat
wait_for "it listens" 5 on n1 sh -c 'ss -Htln | grep -q :7001'
for port in 7002 7003 7004; do
	on n1 ssi-run --detach --name "both$port" socat TCP6-LISTEN:$port,ipv6only=0,fork EXEC:cat
	wait_get n2 "ports :$port" '.[0] | "\(.node) \(.state)"' "n1 owned"
done
assert_eq "$(get n2 "ports :7001" length)" 0 "a claim of the one of IPv6 only"
assert_eq "$(echo hello | on client nc -N -w 5 $VIP 7002)" hello

step "UDP: bound to the wildcard is a claim, an ephemeral one is not"
on n1 ssi-run --detach --name echo socat udp-recvfrom:5353,bind=$VIP,fork exec:cat
wait_get n2 "ports :5353" '.[0] | "\(.proto) \(.node)"' "udp n1"
assert_eq "$(echo hello | on client nc -u -W 1 -w 20 $VIP 5353)" hello
out=$(on n2 timeout 10 ssi-run --name echo2 socat udp-recvfrom:5353 exec:cat 2>&1) && fail "bound twice" || :
assert_match "$out" 'Address already in use'
on n1 netctl signal echo TERM
wait_get n2 "ports :5353" length 0
