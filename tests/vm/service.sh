#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 900
# Debian's redis-server.service under ssi-run by what `netctl unit` prints, on the stock kernel under systemd: it starts, moves,
# and systemctl on its first node goes on being about it; frozen and thawed; netssi-drain.service moves it away.
CLUSTER=$TEST_TOP/tests/vm/cluster
BEARER=eth0
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip

active() { on n1 systemctl is-active "$1" | has '^active$'; }
on n1 sh -c 'mkdir -p /etc/systemd/system/redis-server.service.d
	netctl unit redis-server >/etc/systemd/system/redis-server.service.d/netssi.conf
	printf "%s\n" "bind 0.0.0.0" "protected-mode no" "save \"\"" >>/etc/redis/redis.conf
	systemctl daemon-reload'
step "it starts"
on n1 systemctl start redis-server || fail "$(on n1 journalctl -u redis-server -n 20 --no-pager)"
wait_for "an answer" 20 answers
cli set kept one
assert active redis-server

step "frozen and thawed"
on n2 netctl freeze redis-server
wait_get n1 apps '.[0].state' frozen
on n2 netctl thaw redis-server
wait_for "an answer" 20 answers
on n1 sh -c 'systemctl show -p ControlGroup --value ssi-redis-server.scope' | has 'ssi.slice/ssi-redis-server.scope'

step "it moves: systemd's view stays right"
on n3 netctl migrate redis-server n2
assert active redis-server
assert_eq "$(cli get kept)" one
on n1 systemctl restart redis-server
wait_for "an answer" 20 answers
wait_get n3 apps '.[0].node' n1
assert_eq "$(cli get kept)" "" "kept, after a restart"
on n3 netctl migrate redis-server n2
on n1 systemctl stop redis-server
wait_get n3 apps length 0 20
assert refused 6379

step "netssi-drain.service: what runs moves away when it is stopped"
on n1 systemctl start redis-server
wait_for "an answer" 20 answers
on n1 systemctl start netssi-drain
on n1 systemctl stop netssi-drain
wait_get n2 apps '.[0].state' running
[ "$(get n2 apps '.[0].node')" != n1 ] || fail "it is on n1"
wait_for "an answer" 20 answers
