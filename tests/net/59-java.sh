#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 1500
# A server in a Java machine moves round and round the nodes: its many threads, the code that it makes while it runs and the
# memory of its collector, while clients load files from it. No connection is reset, no byte is wrong.
. "${TEST_TOP:?}/tests/net/lib.sh"
layer default-jre-headless
cluster_up
cluster_vip
tmpdir
. "$TEST_TOP/tests/net/programs.sh"

files
step "a web server in Java on n1"
on n1 ssi-run --detach --name java java -XX:-UsePerfData -Xmx64m -m jdk.httpserver -b 0.0.0.0 -p 8082 -d /srv/www
wait_for "port 8082" 30 port_open 8082
web_loads 8082
round java
over
end java
