#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What `netctl unit` prints: systemd reads it, and the command in it works.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 2
cluster_vip 2
tmpdir

# printed NAME [OPTION...]: systemd finds nothing wrong with the unit and the drop-in
printed()
{
	local name=$1
	on n1 netctl unit "$@" >"$TMP/$name"
	on n1 sh -c 'mkdir -p /etc/systemd/system/$1.service.d; cat >/etc/systemd/system/$1.service.d/netssi.conf' sh "$name" <"$TMP/$name"
	on n1 systemd-analyze verify --man=no "$name.service" >"$TMP/verify" 2>&1 || fail "$name: $(cat "$TMP/verify")"
	! grep "$name" "$TMP/verify" || fail "$name: $(cat "$TMP/verify")"
}

step "redis-server: what Debian's unit forbids is taken away"
printed redis-server
for line in Type=notify RestrictNamespaces=no PrivateTmp=no "CapabilityBoundingSet=~" ProtectSystem=no NoExecPaths= ExecPaths= User= PIDFile= \
	'ExecStartPre=/bin/chown redis:redis /run/redis'; do
	grep -qx -- "$line" "$TMP/redis-server" || fail "no $line: $(cat "$TMP/redis-server")"
done
assert_eq "$(grep -c ^ExecStart= "$TMP/redis-server")" 2 "lines ExecStart="
printed redis-server --standby
for line in Type=exec Restart=always; do
	grep -qx -- "$line" "$TMP/redis-server" || fail "no $line: $(cat "$TMP/redis-server")"
done

step "its command, as systemd would call it"
command=$(sed -n 's/^ExecStart=\(.\)/\1/p' "$TMP/redis-server" | sed 's/--user redis //; s#/etc/redis/redis.conf.*#--port 6379 --protected-mode no --save ""#')
on n1 sh -c "$command" >"$TMP/out" 2>&1 &
wait_for "an answer" 10 answers
wait_get n2 apps '.[0] | "\(.app) \(.flags | join(" "))"' "redis-server standby"
on n2 netctl signal redis-server TERM
wait $! || :

step "nginx and PostgreSQL: in the foreground"
printed nginx
grep -q "^ExecStart=.*/ssi-run --name nginx -- /usr/sbin/nginx -g 'daemon off" "$TMP/nginx"
grep -qx KillSignal=SIGQUIT "$TMP/nginx"
grep -q '^ExecReload=.*/netctl signal nginx HUP' "$TMP/nginx"
on n1 sh -c 'printf "%s\n" "[Service]" Type=forking "ExecStart=-/usr/bin/pg_ctlcluster --skip-systemctl-redirect %i start" "ExecStop=/bin/false" >"/usr/lib/systemd/system/postgresql@.service"'
on n1 netctl unit postgresql@17-main >"$TMP/pg"
grep -q '^ExecStart=.*/ssi-run --name postgresql-17-main --user postgres --data /var/lib/postgresql/17/main -- /usr/lib/postgresql/17/bin/postgres -D' "$TMP/pg"
on n1 netctl unit redis-server -j | jq -e '.[0] | .unit == "redis-server" and (.text | contains("ssi-run"))' >/dev/null

step "what cannot be"
for name in nothing systemd-tmpfiles-setup ../etc; do
	assert_fails 1 on n1 netctl unit $name 2>"$TMP/err"
	assert_eq "$(wc -l <"$TMP/err")" 1 "lines: $(cat "$TMP/err")"
done
