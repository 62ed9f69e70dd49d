// SPDX-License-Identifier: GPL-2.0
/*
 * The processes that hold a cluster of namespaces together (tests/net/cluster):
 *
 *   nsrun init
 *	first process of a pid namespace: reaps, and its end ends all the rest
 *   nsrun watch [-o PID] [-c NAME] -- CMD...
 *	runs CMD; kills it when process PID ends or on SIGTERM, and removes the
 *	control groups below NAME when it is over
 *   nsrun exec [-d] [-g GROUP] PROC -- CMD...
 *	runs CMD in all namespaces of the process whose /proc directory is PROC and
 *	in its control group GROUP; CMD dies with its caller, signals are passed on
 *	and the exit status is CMD's. With -d it stays, in a session of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILED 125

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	fputs("nsrun: ", stderr);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, ": %s\n", strerror(err));
	va_end(ap);
	_exit(FAILED);
}

__attribute__((noreturn)) static void usage(void)
{
	fputs("usage: nsrun init | watch [-o PID] [-c NAME] -- CMD... | "
	      "exec [-d] [-g GROUP] PROC -- CMD...\n",
	      stderr);
	_exit(2);
}

__attribute__((noreturn)) static void run(char **cmd)
{
	execvp(cmd[0], cmd);
	fprintf(stderr, "nsrun: %s: %s\n", cmd[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static int status_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int signals(bool with_child)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (with_child)
		sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		die("signalfd");
	return fd;
}

static void unblock(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
}

static int init(void)
{
	struct signalfd_siginfo si;
	int fd = signals(true);

	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (read(fd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGTERM)
			return 0;
	}
}

static int remove_group(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	if (type == FTW_DP)
		rmdir(path);
	return 0;
}

static void remove_groups(const char *name)
{
	static const char *const mounts[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"};
	char path[256];

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", mounts[i], name);
		/* The last process of a group leaves it a moment after its end. */
		for (int n = 0; n < 100 && !access(path, F_OK); n++) {
			nftw(path, remove_group, 16, FTW_DEPTH | FTW_PHYS);
			usleep(n ? 10000 : 0);
		}
	}
}

static int watch(int argc, char **argv)
{
	const char *groups = NULL;
	struct pollfd p[3] = {{.fd = -1}};
	int opt, status;
	pid_t pid;

	while ((opt = getopt(argc, argv, "+o:c:")) != -1) {
		if (opt == 'o') {
			p[0].fd = syscall(SYS_pidfd_open, atoi(optarg), 0);
			if (p[0].fd < 0)
				die("process %s", optarg);
		} else if (opt == 'c') {
			groups = optarg;
		} else {
			usage();
		}
	}
	if (optind >= argc)
		usage();
	p[1].fd = signals(false);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		unblock();
		run(argv + optind);
	}
	p[2].fd = syscall(SYS_pidfd_open, pid, 0);
	for (int i = 0; i < 3; i++)
		p[i].events = POLLIN;
	while (poll(p, 3, -1) < 0 && errno == EINTR)
		;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (groups)
		remove_groups(groups);
	return 0;
}

/* Enters the namespaces of `proc` except the control group's, whose fd is given. */
static int enter(const char *proc, int *cgroup_ns)
{
	static const struct {
		const char *name;
		int type;
	} ns[] = {
		{"uts", CLONE_NEWUTS}, {"ipc", CLONE_NEWIPC}, {"net", CLONE_NEWNET},
		{"pid", CLONE_NEWPID}, {"mnt", CLONE_NEWNS},
	};
	char path[4096];
	int fd[5];

	for (int i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "%s/ns/%s", proc, ns[i].name);
		fd[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (fd[i] < 0)
			die("%s", path);
	}
	snprintf(path, sizeof(path), "%s/ns/cgroup", proc);
	*cgroup_ns = open(path, O_RDONLY | O_CLOEXEC);
	if (*cgroup_ns < 0)
		die("%s", path);
	for (int i = 0; i < 5; i++)
		if (setns(fd[i], ns[i].type))
			die("setns %s", ns[i].name);
	return 0;
}

static void join_group(const char *group, int cgroup_ns)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s", group);
	if (mkdir(path, 0755) && errno != EEXIST)
		die("%s", path);
	strncat(path, "/cgroup.procs", sizeof(path) - strlen(path) - 1);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		die("%s", path);
	if (setns(cgroup_ns, CLONE_NEWCGROUP))
		die("setns cgroup");
	if (chdir("/root"))
		die("/root");
}

static int exec(int argc, char **argv)
{
	const char *group = "init.scope";
	bool detach = false;
	int opt, cgroup_ns, fd = -1, status;
	struct signalfd_siginfo si;
	pid_t pid;

	while ((opt = getopt(argc, argv, "+dg:")) != -1) {
		if (opt == 'd')
			detach = true;
		else if (opt == 'g')
			group = optarg;
		else
			usage();
	}
	if (optind + 2 >= argc || strcmp(argv[optind + 1], "--"))
		usage();
	enter(argv[optind], &cgroup_ns);
	if (!detach)
		fd = signals(true);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		if (detach)
			setsid();
		else
			prctl(PR_SET_PDEATHSIG, SIGKILL);
		join_group(group, cgroup_ns);
		unblock();
		setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", 1);
		setenv("HOME", "/root", 1);
		run(argv + optind + 2);
	}
	if (detach)
		return 0;
	for (;;) {
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return status_of(status);
		if (read(fd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo != SIGCHLD)
			kill(pid, si.ssi_signo);
	}
}

int main(int argc, char **argv)
{
	if (argc < 2)
		usage();
	if (!strcmp(argv[1], "init"))
		return init();
	if (!strcmp(argv[1], "watch"))
		return watch(argc - 1, argv + 1);
	if (!strcmp(argv[1], "exec"))
		return exec(argc - 1, argv + 1);
	usage();
}
