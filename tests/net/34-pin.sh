#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Pinned claims for servers of the host, several cluster addresses, and who loses a race for a port.
. "${TEST_TOP:?}/tests/net/lib.sh"
VIP2=10.77.0.101
cluster_up 2
cluster_vip 2
tmpdir

open_port() { on client timeout 3 nc -z -w 2 "$1" "$2"; }

step "a server of the host on 0.0.0.0 is not exposed, until it is pinned"
on n2 nc -lk 0.0.0.0 2222 >/dev/null &
wait_for "the server listens" 5 on n2 sh -c "ss -tln | grep -q :2222"
assert refused 2222
on n1 netctl port add :2222 node n2
assert_eq "$(get n1 "ports :2222" '.[0] | "\(.node) \(.state) \(.app)"')" "n2 pinned "
wait_for "the pinned port answers" 2 open_port $VIP 2222
on n1 netctl port add :2222 node n2 | has unchanged
assert_fails 1 on n1 netctl port add :2222 node n1
assert_fails 1 on n1 netctl port add :2222 node nowhere
assert_fails 1 on n1 netctl port add 10.77.0.7:2222 node n2

step "no application elsewhere gets a pinned port"
rc=0
on n1 ssi-run --name thief nc -l 0.0.0.0 2222 2>"$TMP/err" || rc=$?
assert_eq $rc 1 "exit status"
grep -qi 'in use' "$TMP/err"
on n1 netctl port del :2222
wait_get n2 "ports :2222" length 0
assert refused 2222
on n1 netctl port del :2222 | has unchanged

step "two addresses: a wildcard listener has both, a bound one its own"
on n2 netctl vip add $VIP2/24 dev n1:eth0
wait_get n1 vips 'map(select(.state == "up")) | length' 2
on n1 ssi-run --detach --name both nc -lk 0.0.0.0 7001
on n2 ssi-run --detach --name first nc -lk $VIP 7002
on n1 ssi-run --detach --name second nc -lk $VIP2 7002
wait_get n2 "ports :7001" '[.[].vip] | sort | join(" ")' "$VIP $VIP2"
wait_get n1 "ports :7002" '[.[] | "\(.vip)@\(.node)"] | sort | join(" ")' "$VIP@n2 $VIP2@n1"
wait_for "the first answers" 2 open_port $VIP 7002
wait_for "the second answers" 2 open_port $VIP2 7002
on n1 netctl vip del $VIP2
wait_get n2 "ports :7001" '[.[].vip] | join(" ")' $VIP
wait_for "the first answers still" 2 open_port $VIP 7002
assert_fails 1 on n1 netctl port del :7001

step "a listener that was there before its address is claimed when that comes"
on n2 netctl vip add $VIP2/24
wait_get n1 "ports :7001" '[.[].vip] | sort | join(" ")' "$VIP $VIP2"
wait_for "the wildcard listener answers there" 2 open_port $VIP2 7001

step "explain and stats"
on n1 netctl explain 10.77.0.250 $VIP:7001
wait_get n2 "explain 10.77.0.250 $VIP:7001" '.[0] | "\(.node) \(.reason)"' "n1 OWNED"
assert_eq "$(get n2 "explain 10.77.0.250 $VIP:9" '.[0].reason')" HOME
assert_eq "$(get n2 "explain 10.77.0.250 $VIP:7001" '.[0].checks[] | select(.what == "listener").ok')" true
assert_fails 1 on n1 netctl explain 10.77.0.250 10.77.0.9:80
on n1 nft -f - <<<'table inet t { chain in { type filter hook input priority 0; policy drop; tcp dport != 7001 accept; }; }'
assert_eq "$(get n2 "explain 10.77.0.250 $VIP:7001" '.[0].checks[] | select(.what == "firewall").ok')" null
on n1 nft -f - <<<'flush table inet t; table inet t { chain in { policy accept; tcp dport 7001 counter reject; }; }'
assert_eq "$(get n2 "explain 10.77.0.250 $VIP:7001" '.[0].checks[] | select(.what == "firewall").ok')" true "a rule in the middle"
on n1 nft -f - <<<'flush table inet t; table inet t { chain in { tcp dport != 7001 accept; counter reject; }; }'
assert_eq "$(get n2 "explain 10.77.0.250 $VIP:7001" '.[0].checks[] | select(.what == "firewall").ok')" null "rejected at the end"
on n1 nft delete table inet t
[ "$(get n1 stats '[.[] | select(.reason == "OWNED").packets] | add')" -gt 0 ] || fail "no packet was counted as owned"
