#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# libnetssi, as a program that was compiled with its .pc file uses it: requests that are waited for and from a loop, and
# a server that is told before and after it moves, is saved and restarted.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 2
# shellcheck disable=SC2016 # there
on n2 sh -c 'cd /etc/netssi; real=$(sed -n "s/^criu = //p" netd.conf 2>/dev/null); printf "%s\n" "#!/bin/sh" "[ ! -e /run/fail ] || exit 1" \
	"exec ${real:-criu} \"\$@\"" >criu; chmod +x criu; echo "criu = /etc/netssi/criu" >netd.conf'
cluster netd n2 stop
cluster netd n2 start
cluster_vip 2
tmpdir

build()
{
	# shellcheck disable=SC2016 # there
	on "$1" sh -c 'ldconfig && gcc -D_GNU_SOURCE -Wall -Werror -o /usr/local/bin/$0 -xc - $(pkg-config --cflags --libs libnetssi)' "$3" <"$2"
}
api() { on n1 api-client "$@"; }
# says NUMBER TEXT: the line of that number that the server wrote
line_is() { [ "$(get "${3:-n1}" 'logs visitor' '.[0].lines | join("\n")' 2>/dev/null | grep -v '^ssi-run:' | sed -n "$1p")" = "$2" ]; }
says() { wait_for "line $1 of the server: $2" 10 line_is "$@"; }
# where it is, by its own words, from the client
asked() { echo where | on client timeout 5 nc -u -w 1 $VIP 7777; }
answers_from() { [ "$(asked)" = "$1" ]; }

step "it is compiled by the installed header, library and .pc file"
build n1 "$TEST_TOP/tests/net/api_client.c" api-client
build n1 "$TEST_TOP/docs/examples/visitor.c" visitor
on n1 cat /usr/local/bin/visitor | on n2 sh -c 'cat >/usr/local/bin/visitor; chmod 755 /usr/local/bin/visitor; ldconfig'
on n1 sh -c 'objdump -p /usr/local/lib/libnetssi.so' | has 'SONAME *libnetssi.so.1'
assert_eq "$(on n1 sh -c 'nm -D --defined-only /usr/local/lib/libnetssi.so.1 | grep -cv " netssi_.*@@NETSSI_1$\| NETSSI_1$"' || :)" 0 "symbols that are not of the interface"

step "a port is claimed, and given back"
api claim 4711 n2 | has '^ok 1 .*"node":"n2".*"state":"pinned".*"changed":true'
api claim 4711 n2 | has '"changed":false'
assert_eq "$(get n1 'ports :4711' '.[0].node')" n2
api release 4711 | has '^ok '
wait_get n1 'ports :4711' length 0
{ api claim 70000 n2 || :; } | has '^EINVAL .*; .'
{ api claim 4711 n9 || :; } | has '^ECANCELED .*n9.*; .'
{ api status visitor || :; } | has '^ENOENT .*; .'

step "a server hears where it is"
on n1 ssi-run --detach visitor 7777
says 1 "here, on n1"
wait_get n1 'ports :7777' '.[0].node' n1
assert_eq "$(asked)" n1
api status visitor | has '^ok 1 .*"node":"n1".*"state":"running"'
{ on n1 visitor 7778 2>&1 || :; } | has 'start me with ssi-run'

step "told before and after a move, and what to wait for is its answer"
api migrate visitor n2 | tee "$TMP/out"
has '^step ' <"$TMP/out"
has '^ok 1 .*"node":"n2".*"notice_ms":' <"$TMP/out"
says 2 "about to move to n2" n2
says 3 "moved to n2" n2
wait_for "its answer from n2" 5 answers_from n2

step "from a loop, beside other requests"
api -l migrate visitor n1 >"$TMP/out"
assert_eq "$(grep -c '^EINVAL' "$TMP/out")" 1
has '^ok 1 .*"node":"n1"' <"$TMP/out"
says 5 "moved to n1"

step "a move that fails: it stays, and is told so"
on n2 touch /run/fail
{ api migrate visitor n2 || :; } | tee "$TMP/out"
has '^ECANCELED .*runs on where it was' <"$TMP/out"
says 6 "about to move to n2"
says 7 "stayed on n1"
on n2 rm /run/fail
wait_for "its answer from n1" 5 answers_from n1

step "saved, and restarted on another node"
api checkpoint visitor /var/tmp/kept leave | has '^ok 1 .*"running":true'
says 8 "about to be saved on n1"
says 9 "stayed on n1"
api checkpoint visitor /var/tmp/kept | has '^ok 1 .*"version":2'
wait_get n2 apps length 0
on n1 tar -C /var/tmp -c kept | on n2 tar -C /var/tmp -xp
api restart /var/tmp/kept n2 | has '^ok 1 .*"node":"n2"'
wait_for "its answer from n2" 5 answers_from n2
restarted() { get n2 'logs visitor' '.[0].lines | join("\n")' | has '^restarted on n2$'; }
wait_for "that it was told" 5 restarted

step "one that does not answer holds up nothing beyond its limit"
on n1 netctl set notice_ms 100 | has notice_ms
sed 's/netssi_watch_ready(watch);/;/' "$TEST_TOP/docs/examples/visitor.c" >"$TMP/mute.c"
build n1 "$TMP/mute.c" mute
on n1 cat /usr/local/bin/mute | on n2 sh -c 'cat >/usr/local/bin/mute; chmod 755 /usr/local/bin/mute'
on n1 ssi-run --detach mute 7779 60000
mute_heard() { get "$1" 'logs mute' '.[0].lines | join(" ")' | has "$2"; }
wait_for "that it registered" 5 mute_heard n1 'here, on n1'
api migrate mute n2 | tee "$TMP/out"
ms=$(sed -n 's/.*"notice_ms":\([0-9]*\).*/\1/p' "$TMP/out")
[ "$ms" -ge 100 ] || fail "it was not waited for"
wait_for "what it heard" 5 mute_heard n2 'about to move to n2 moved to n2'

step "without netd"
cluster netd n1 kill
{ api status || :; } | has '^ENOTCONN netd does not run.*; .'
