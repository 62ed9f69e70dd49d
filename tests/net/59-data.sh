#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A program's directories go to the target in rounds while it changes them in every way; what is there when it runs on is
# exactly what it left. An undone move leaves nothing.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up 2
cluster_vip 2
tmpdir

D=/var/tmp/d
# Where /var/tmp/go is missing it changes nothing.
cat >"$TMP/busy" <<'X'
#!/bin/bash
cd /var/tmp/d || exit
for ((i = 0; ; i++)); do
	sleep 0.01
	[ -e /var/tmp/go ] || continue
	printf %08d $i | dd of=inplace bs=8 seek=$((i % 1000)) conv=notrunc status=none
	printf %08d $i | dd of=linked.b bs=8 seek=$((i % 10)) conv=notrunc status=none
	echo $i >>log
	echo $i >new.$i; rm -f new.$((i - 20))
	ln -sfn $i symbolic
	mkdir -p deep/$((i % 7))/x; echo $i >deep/$((i % 7))/x/y; mv -T deep/$((i % 7)) moved; rm -rf moved.old; mv -T moved moved.old
	if [ -d kind ]; then rm -rf kind; echo $i >kind; else rm -f kind; mkdir -p kind/of/dir; echo $i >kind/of/file; fi
	echo $i >replaced.tmp; mv replaced.tmp replaced
	chmod $((600 + i % 8)) mode
	truncate -s $((i * 4096 % 100000)) sparse
done
X
for n in n1 n2; do
	on $n sh -c 'cat >/var/tmp/busy; chmod 755 /var/tmp/busy' <"$TMP/busy"
	on $n mkdir -p $D
done
on n2 sh -c "echo before >$D/old"
on n1 sh -c "cd $D; head -c 30000000 /dev/urandom >big; head -c 100000 big >inplace; head -c 80 big >linked.a; ln linked.a linked.b
	mkfifo fifo; mkdir -m 2750 sub; seq 5000 | (cd sub && xargs touch); touch mode ./-n 'a
b' ' c'; chown 65534 sub/7"

# The directory, line by line.
content()
{
	on "$1" sh -c "cd $D && find . -type d -printf '%p %y %m %U %G\n' -o -printf '%p %y %m %U %G %s %Ts %n %l\n' | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"
}
size() { on n1 sh -c "cat $D/log 2>/dev/null | wc -c"; }
grows() { [ "$(size)" -gt "$1" ]; }

on n1 touch /var/tmp/go
on n1 ssi-run --detach --name busy --data $D /var/tmp/busy
wait_for "changes" 10 grows 200

# The target's CRIU fails, or waits at a gate: then all is in place, and nothing runs yet.
on n2 sh -c 'cd /etc/netssi; real=$(sed -n "s/^criu = //p" netd.conf 2>/dev/null); printf "%s\n" "#!/bin/sh" "[ ! -e /run/fail ] || exit 1" \
	"while [ ! -e /run/gate ]; do sleep 0.05; done" "exec ${real:-criu} \"\$@\"" >criu; chmod +x criu; echo "criu = /etc/netssi/criu" >netd.conf; touch /run/fail'
cluster netd n2 stop
cluster netd n2 start
wait_get n2 status '.[0].state' up
wait_get n1 vips '.[0].nodes[] | select(.node == "n2") | .state' up

step "a move that is undone"
assert_fails 1 on n1 netctl migrate busy n2
wait_get n1 apps '.[0] | "\(.node) \(.state)"' "n1 running"
assert_eq "$(on n2 cat $D/old)" before
assert_eq "$(on n2 ls /var/tmp | xargs)" "busy d" "left on n2"
wait_for "changes" 10 grows "$(($(size) + 100))"

step "while it changes everything"
on n2 rm /run/fail
on n1 netctl migrate busy n2 -j >"$TMP/json" 2>"$TMP/err" &
move=$!
in_place() { on n2 test -e $D/big -a ! -e $D/old; }
wait_for "the directory" 20 in_place
content n1 >"$TMP/n1"
content n2 >"$TMP/n2"
diff "$TMP/n1" "$TMP/n2" || fail "it is not what it was"
[ "$(wc -l <"$TMP/n2")" -gt 10000 ] || fail "nothing there"
on n2 touch /run/gate /var/tmp/go
wait $move || fail "$(cat "$TMP/err")"
cat "$TMP/json"
jq -e '.[0] | .rounds >= 2 and .frozen_bytes * 4 < .bytes and .bytes > 30000000' "$TMP/json" >/dev/null
goes_on() { [ "$(on n2 sh -c "cat $D/log | wc -c")" -gt "$1" ]; }
wait_for "changes on n2" 10 goes_on "$(($(size) + 100))"
only_it() { [ "$(on n2 ls /var/tmp | xargs)" = "busy d go" ]; }
wait_for "nothing left beside it" 10 only_it
