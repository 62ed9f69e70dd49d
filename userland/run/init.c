// SPDX-License-Identifier: GPL-2.0
/*
 * ssi-init: the root of an application's process tree, started by ssi-run:
 *
 *	ssi-init UID GID GROUPS CMD...		"-" for each of the three keeps what is
 *
 * It runs CMD as its child, takes in orphans, passes signals on and ends as CMD ends. It moves with
 * the application, so it is small and static, and holds nothing of the node but /dev/null.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_GROUPS 1024

static int become_user(const char *uid, const char *gid, char *groups)
{
	static gid_t list[MAX_GROUPS];
	char *part, *rest = groups;
	size_t n = 0;

	if (strcmp(uid, "-") == 0)
		return 0;
	while ((part = strsep(&rest, ",")) && n < MAX_GROUPS)
		list[n++] = (gid_t)strtoul(part, NULL, 10);
	if (setgroups(n, list) < 0 || setgid((gid_t)strtoul(gid, NULL, 10)) < 0)
		return -1;
	return setuid((uid_t)strtoul(uid, NULL, 10));
}

static void command(char **argv)
{
	sigset_t none;
	int err;

	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (become_user(argv[1], argv[2], argv[3]) < 0) {
		fprintf(stderr, "ssi-run: error: cannot become user %s: %s\n", argv[1], strerror(errno));
		_exit(125);
	}
	execvp(argv[4], argv + 4);
	err = errno;
	fprintf(stderr, "ssi-run: error: cannot run '%s': %s; check its name, PATH and permissions\n",
		argv[4], strerror(err));
	_exit(err == ENOENT ? 127 : 126);
}

/* As CMD ended, so that whoever waits for this process sees the same. */
static void end_as(int status)
{
	const struct rlimit no_core = {0, 0};
	sigset_t one;
	int sig;

	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	sig = WTERMSIG(status);
	setrlimit(RLIMIT_CORE, &no_core);
	signal(sig, SIG_DFL);
	sigemptyset(&one);
	sigaddset(&one, sig);
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	_exit(128 + sig);
}

static void reap(pid_t cmd)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == cmd)
			end_as(status);
}

static void let_go_of_node(void)
{
	int fd = open("/dev/null", O_RDWR);

	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
	if (chdir("/") < 0)
		_exit(125);
}

int main(int argc, char **argv)
{
	sigset_t all;
	pid_t cmd;
	int sig;

	if (argc < 5) {
		fprintf(stderr, "ssi-init is started by ssi-run\n");
		return 125;
	}
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	cmd = fork();
	if (cmd < 0)
		return 125;
	if (cmd == 0)
		command(argv);
	let_go_of_node();
	for (;;) {
		sig = sigwaitinfo(&all, NULL);
		if (sig == SIGCHLD)
			reap(cmd);
		else if (sig > 0)
			kill(cmd, sig);
	}
}
