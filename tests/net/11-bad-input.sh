#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Bad input: one clear line on stderr with a remedy, the exit status of the contract, nothing half done.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
tmpdir

# bad STATUS NODE PATTERN CMD...: one line on stderr that matches, nothing on stdout
bad()
{
	local want=$1 node=$2 pattern=$3 rc=0
	shift 3
	on "$node" "$@" >"$TMP/out" 2>"$TMP/err" </dev/null || rc=$?
	echo "$node# $* -> $rc: $(head -n 3 "$TMP/err")"
	[ $rc = "$want" ] || fail "'$*' ended with $rc, not with $want"
	[ "$(error_lines "$TMP/err")" = 1 ] || fail "'$*' wrote $(error_lines "$TMP/err") lines on stderr, not one: $(cat "$TMP/err")"
	[[ $(cat "$TMP/err") =~ $pattern ]] || fail "'$*': '$(cat "$TMP/err")' does not match '$pattern'"
	[ ! -s "$TMP/out" ] || fail "'$*' wrote to stdout: $(cat "$TMP/out")"
}

step "without a daemon, without a cluster"
cluster netd n3 stop
bad 4 n3 'systemctl start netd' netctl status
bad 125 n3 'systemctl start netd' ssi-run true
cluster netd n3 start
bad 4 n3 'netctl (init|join)' netctl vip add $VIP/24
bad 125 n3 'netctl (init|join)' ssi-run true

step "a wrong key"
cluster_form 2
on n3 sh -c 'head -c 32 /dev/urandom | od -An -v -tx1 | tr -d " \n" >/tmp/wrong; echo word >/tmp/word'
bad 1 n3 '(key|token)' netctl join 10.77.0.1 --key-file /tmp/wrong
bad 2 n3 'netctl token' netctl join 10.77.0.1 --token-file /tmp/word
bad 1 n3 '/tmp/none' netctl join 10.77.0.1 --token-file /tmp/none
for bytes in 1 31 33; do
	on n3 sh -c "head -c $bytes /dev/urandom | od -An -v -tx1 | tr -d ' \n' >/tmp/length"
	bad 2 n3 'netctl token' netctl join 10.77.0.1 --key-file /tmp/length
done
bad 2 n1 'time of 1s and more' netctl token --ttl 0
bad 2 n1 'time of 1s and more' netctl token --ttl 0h
wait_get n1 nodes length 2

step "a member is asked to join"
on n3 cat /tmp/wrong | on n2 sh -c 'cat >/tmp/wrong'
bad 1 n2 'another cluster already, as n2.*netctl leave' netctl join 10.77.0.3 --key-file /tmp/wrong
on n2 netctl join 10.77.0.1 --key-file /tmp/wrong | has unchanged
on n2 netctl join 10.77.0.3 --key-file /etc/netssi/key | has unchanged
on n1 netctl token | on n2 netctl join 10.77.0.3 --token-file - | has unchanged

step "a node's name twice, and an address without a way"
on n1 netctl token >"$TMP/token"
on n3 sh -c 'cat >/tmp/token' <"$TMP/token"
bad 1 n3 'unreachable; .*ip route' netctl join 192.0.2.1 --token-file /tmp/token
bad 1 n3 'n2' netctl join 10.77.0.1 --token-file /tmp/token --name n2
wait_get n1 nodes length 2

step "addresses and interfaces"
bad 1 n1 'interface' netctl vip add 192.168.7.1/24
bad 1 n1 'eth7' netctl vip add $VIP/24 dev eth7
bad 2 n1 '' netctl vip add 10.77.0.300/24
bad 2 n1 '' netctl vip add $VIP/64
bad 2 n1 '' netctl vip add $VIP/24 --mac 00:zz:00:00:00:00
assert_eq "$(get n1 vips length)" 0 "VIPs after bad input"
on n1 netctl vip add $VIP/24
on n1 netctl vip add $VIP/24 | has unchanged
bad 1 n2 '(exposed|parameters|vip del)' netctl vip add $VIP/24 --mac 02:00:5e:77:00:64
bad 1 n1 'address' netctl vip add 10.77.0.1/24
bad 1 n1 '(/24|exposed)' netctl vip add $VIP/16
assert_eq "$(get n2 vips length)" 1 "VIPs after bad input"

step "settings"
bad 2 n1 'from 100 to 60000' netctl set lease_ms 99
bad 2 n1 'from 100 to 60000' netctl set lease_ms 60001
bad 1 n1 'netctl set. lists' netctl set frob 1
wait_get n2 set '.[] | select(.key == "lease_ms").value' 2000

step "unknown words"
bad 2 n1 'nodes' netctl nodez
bad 2 n1 '' netctl nodes --frob
bad 2 n1 '' netctl vip add
bad 2 n1 '' netctl ports extra words
bad 2 n1 '' netctl migrate
bad 125 n1 'frob' ssi-run --frob true
bad 125 n1 '' ssi-run
bad 2 n1 '' netd --frob

step "applications"
bad 127 n1 'no-such-program' ssi-run no-such-program
bad 126 n1 '/etc/passwd' ssi-run /etc/passwd
on n1 ssi-run --detach --name twice sleep 1000
wait_get n2 apps length 1
bad 125 n2 'twice.*n1' ssi-run --detach --name twice sleep 1000
bad 1 n1 'nobody' netctl migrate nobody n2
bad 1 n1 'n9' netctl migrate twice n9
bad 1 n1 'nobody' netctl signal nobody TERM
bad 2 n1 '' netctl signal twice FROB
assert_eq "$(get n1 apps '.[].app')" twice

step "privileges"
bad 1 n1 'root' setpriv --reuid 65534 --clear-groups netctl vip del $VIP
bad 1 n1 'root' setpriv --reuid 65534 --clear-groups netd
assert_eq "$(get n1 vips length)" 1 "VIPs after bad input"

step "machine-readable errors"
on n1 netctl migrate nobody n2 -j >"$TMP/out" 2>"$TMP/err" </dev/null && fail "it worked" || :
jq -e '.error and .remedy and (.code == 1)' "$TMP/err" >/dev/null || fail "not the error object: $(cat "$TMP/err")"
