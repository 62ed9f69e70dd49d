#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Two nodes listen on one port at the same moment: exactly one keeps it, and nobody else's socket stays.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip

listens() { on "$1" ss -Htln "sport = :$2" | has .; }
settled()
{
	local owner
	owner=$(get n2 "ports :$1" '.[0].node // ""')
	case $owner in
	n1) listens n1 "$1" && ! listens n3 "$1" ;;
	n3) listens n3 "$1" && ! listens n1 "$1" ;;
	*) false ;;
	esac
}

# Binds at a moment of the clock that all nodes share, so that neither knows of the other.
cat >"$NETDIR/share/race.py" <<'EOF2'
import socket, sys, time
at, port = float(sys.argv[1]), int(sys.argv[2])
s = socket.socket()
while time.time() < at:
    if at - time.time() > 0.005:
        time.sleep(0.002)
s.bind(("0.0.0.0", port))
s.listen()
while True:
    s.accept()[0].close()
EOF2

for port in 7101 7102 7103 7104 7105 7106; do
	at=$(($(date +%s) + 2))
	for n in n1 n3; do
		on $n ssi-run --name race-$port-$n python3 /share/race.py $at $port >/dev/null 2>&1 &
	done
	wait_for "one of two has port $port" 15 settled $port
	wait_get n3 "ports :$port" length 1
	assert on client nc -z -w 20 $VIP $port
	echo "port $port: $(get n2 "ports :$port" '.[0].node')"
done
told()
{
	lost=$(cat "$NETDIR"/log/n[13]/netd.log | grep -c 'the socket of race-.* is ended' || :)
	refused=$(cat "$NETDIR"/log/n[13]/netd.log | grep -c 'race-.* address in use' || :)
	[ $((lost + refused)) = 6 ]
}
wait_for "each loser to be told" 5 told
echo "$refused refused at once, $lost ended after the race"

# The end of such a program overtakes the entry that publishes its pid.
step "a program that ends at once leaves nothing"
for i in {1..30}; do
	assert on n1 ssi-run --name "brief-$i" true
done
none_left() { [ "$(get n2 apps '[.[] | select(.app | startswith("brief-"))] | length')" = 0 ]; }
wait_for "no application to be left" 5 none_left
