#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 600
# A web server of several processes and users moves and comes home, on the stock kernel with the distribution's CRIU.
CLUSTER=$TEST_TOP/tests/vm/cluster
BEARER=eth0
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip

page() { on client timeout 10 curl -s "http://$VIP/" | has 'Welcome to nginx'; }
workers() { on "$1" pgrep -c -u www-data -x nginx; }

on n1 ssi-run --detach --name web nginx -g 'daemon off;'
wait_for "the page" 20 page
many=$(workers n1)
for node in n2 n1; do
	step "to $node"
	on n3 netctl migrate web $node
	wait_get n3 "ports :80" '.[0].node' $node
	assert page
	assert_eq "$(workers $node)" "$many" "workers on $node"
done

step "its end"
on n3 netctl signal web QUIT
wait_get n2 apps length 0 20
assert_fails 7 on client curl -s --max-time 10 "http://$VIP/"
