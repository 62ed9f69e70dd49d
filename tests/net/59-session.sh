#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 1500
# An OpenSSH server moves round and round the nodes, and with it the sessions that are open: one with a terminal and a shell
# in it, one that sends a file, one with a command that counts. No session breaks, no byte is wrong.
. "${TEST_TOP:?}/tests/net/lib.sh"
layer openssh-server openssh-client
cluster_up
cluster_vip
tmpdir
. "$TEST_TOP/tests/net/programs.sh"

step "sshd on n1"
on client ssh-keygen -q -t ed25519 -N '' -f /run/id
on n1 ssh-keygen -q -t ed25519 -N '' -f /run/host
for n in n1 n2 n3; do
	for f in host host.pub; do
		on n1 cat /run/$f | on $n sh -c "cat >/etc/ssh/test_$f; chmod 600 /etc/ssh/test_$f"
	done
	on client cat /run/id.pub | on $n sh -c 'mkdir -p /root/.ssh /run/sshd; chmod 700 /root/.ssh; cat >/root/.ssh/authorized_keys'
	on $n sh -c 'cat >/etc/ssh/test_config' <<-END
		Port 2222
		HostKey /etc/ssh/test_host
		PermitRootLogin yes
		UsePAM no
		PidFile none
		StrictModes no
		END
done
on n1 ssi-run --detach --name sshd /usr/sbin/sshd -D -e -f /etc/ssh/test_config
wait_for "port 2222" 10 port_open 2222
ssh="ssh -q -p 2222 -i /run/id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ServerAliveInterval=0 root@$VIP"
wait_for "a session" 10 on client $ssh true

step "sessions are open while it moves"
# shellcheck disable=SC2016
load shell python3 -c '
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
	os.execvp("ssh", sys.argv[1].replace("ssh ", "ssh -tt ", 1).split())
seen = b""
def until(what):
	global seen
	while what not in seen:
		got = os.read(fd, 4096)
		if not got:
			sys.exit("the session ended: %r" % seen[-200:])
		seen += got
	seen = seen.split(what, 1)[1]
os.write(fd, b"PS1=; stty -echo; echo be\"\"gin; tty\n")
until(b"begin")
n = 0
while not os.path.exists("/run/over"):
	n += 1
	os.write(fd, b"echo line $((%d + 1)).\n" % n)
	until(b"line %d." % (n + 1))
os.write(fd, b"exit 7\n")
_, status = os.waitpid(pid, 0)
if os.WEXITSTATUS(status) != 7:
	sys.exit("it ended with %d" % status)
print(n, "lines in a terminal")
' "$ssh"
# shellcheck disable=SC2016
load count sh -c '{ while [ ! -e /run/over ]; do sleep 0.1; done; echo enough; } |
	'"$ssh"' "i=0; until read -r -t 0.02 x; do echo \$i; i=\$((i + 1)); done; echo end" | {
	i=0; while read -r n && [ "$n" != end ]; do [ "$n" = $i ] || { echo "got $n for $i"; exit 1; }; i=$((i + 1)); done
	[ "$n" = end ] || { echo "it broke after $i"; exit 1; }; echo "$i numbers"; }'
load copy python3 -c '
import os, subprocess, sys
p = subprocess.Popen(sys.argv[1].split() + ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
n = 0
while not os.path.exists("/run/over"):
	block = os.urandom(50000)
	p.stdin.write(block)
	p.stdin.flush()
	got = p.stdout.read(len(block))
	if got != block:
		sys.exit("block %d came back with %d bytes, %s" % (n, len(got), "wrong" if len(got) == len(block) else "ended"))
	n += 1
p.stdin.close()
if p.wait() != 0:
	sys.exit("it ended with %d" % p.returncode)
print(n * 50000, "bytes there and back")
' "$ssh"
# A session that is being opened has a process in a sandbox, which nobody can look into.
three_are_open() { [ "$(on n1 pgrep -c -f '^sshd(-session)?: root@')" = 3 ]; }
wait_for "three sessions" 10 three_are_open
round sshd
over
end sshd
