// SPDX-License-Identifier: GPL-2.0
/*
 * Namespaces and their PID 1. Requests go over one socket and are answered at
 * once; ends of children are told over another.
 */
#include "userland/run/space.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "ckpt/fds.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/fdpass.h"
#include "userland/lib/log.h"
#include "userland/run/cgroup.h"

#define NS_LAST_PID "/proc/sys/kernel/ns_last_pid"
#define HIGH_PIDS   1024 /* how far below pid_max CRIU's pids begin */

struct request {
	enum { REQUEST_RUN, REQUEST_KILL } op;
	pid_t pid;
	int sig;
	int flags;
	space_fn *fn;
	char blob[SPACE_BLOB];
};

struct ended {
	pid_t pid;
	int status;
};

/* ---- inside: PID 1 ----------------------------------------------------------- */

static long read_number(const char *path)
{
	char text[32];
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	return strtol(text, NULL, 10);
}

static void write_number(const char *path, long value)
{
	_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		dprintf(fd, "%ld", value);
}

static long high_pid_base(void)
{
	long max = read_number("/proc/sys/kernel/pid_max");

	return (max > 0 ? max : 32768) - HIGH_PIDS;
}

static ssize_t receive(int fd, struct request *r, int *fds, int *n)
{
	FDPASS_BUFFER(control, SPACE_FDS);
	struct iovec iov = {.iov_base = r, .iov_len = sizeof(*r)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	ssize_t got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = got > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	*n = 0;
	if (c && c->cmsg_type == SCM_RIGHTS) {
		*n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), *n * sizeof(int));
	}
	return got;
}

static pid_t init_run(const struct request *r, const int *fds, int n, const int *own)
{
	bool high = r->flags & SPACE_HIGH_PID;
	sigset_t none;
	pid_t pid;

	if (r->flags & SPACE_HIGH_PIDS)
		write_number(NS_LAST_PID, high_pid_base());
	pid = high ? ckpt_fork_at((pid_t)high_pid_base() + 1) : fork();
	if (pid != 0)
		return pid < 0 ? -errno : pid;
	for (int i = 0; i < 3; i++)
		close(own[i]);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	_exit(r->fn(r->blob, fds, n));
}

static void init_reap(int events, long *saved_pid)
{
	struct ended e;

	while ((e.pid = waitpid(-1, &e.status, WNOHANG)) > 0) {
		if (e.pid > high_pid_base() && *saved_pid >= 0) {
			write_number(NS_LAST_PID, *saved_pid);
			*saved_pid = -1;
		}
		if (send(events, &e, sizeof(e), MSG_NOSIGNAL) < 0)
			_exit(0);
	}
}

static void init_request(int ctl, const int *own, long *saved_pid)
{
	static struct request r;
	int fds[SPACE_FDS], n = 0;
	pid_t answer;

	if (receive(ctl, &r, fds, &n) <= 0)
		_exit(0); /* the supervisor is gone, and so are we all */
	if (r.op == REQUEST_KILL) {
		answer = kill(r.pid, r.sig) < 0 ? -errno : 0;
	} else {
		if ((r.flags & SPACE_HIGH_PIDS) && *saved_pid < 0)
			*saved_pid = read_number(NS_LAST_PID);
		answer = init_run(&r, fds, n, own);
	}
	while (n > 0)
		close(fds[--n]);
	if (send(ctl, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
		_exit(0);
}

/* Everything of the supervisor's goes: streams it holds would never end otherwise. */
static void init_fds(int ctl, int events)
{
	int null = open("/dev/null", O_RDWR);

	ctl = fcntl(ctl, F_DUPFD, 10);
	events = fcntl(events, F_DUPFD, 10);
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	dup2(ctl, 3);
	dup2(events, 4);
	for (int fd = 3; fd <= 4; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	close_range(5, ~0U, 0);
}

static void __attribute__((noreturn)) init_main(int ctl, int events)
{
	long saved_pid = -1;
	struct pollfd p[2];
	sigset_t chld;
	int own[3];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "ssi-run-init");
	setsid();
	init_fds(ctl, events);
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		_exit(1);
	/* Terminals that it makes (sshd, script, tmux) have numbers of their own: on the next node nobody else has them. */
	mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
	      "newinstance,ptmxmode=0666,mode=0620,gid=5");
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_SETMASK, &chld, NULL);
	own[0] = 3;
	own[1] = 4;
	own[2] = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	p[0] = (struct pollfd){.fd = 3, .events = POLLIN};
	p[1] = (struct pollfd){.fd = own[2], .events = POLLIN};
	for (;;) {
		struct signalfd_siginfo si;

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents && read(own[2], &si, sizeof(si)) > 0)
			init_reap(4, &saved_pid);
		if (p[0].revents)
			init_request(3, own, &saved_pid);
	}
}

/* ---- outside: the supervisor -------------------------------------------------- */

static int transact(struct space *s, const struct request *r, size_t len, const int *fds, int n)
{
	FDPASS_BUFFER(control, SPACE_FDS);
	struct iovec iov = {.iov_base = (void *)r, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	pid_t answer;

	if (s->init <= 0)
		return -ESRCH;
	fdpass_put(&msg, control.buf, fds, n);
	if (sendmsg(s->ctl, &msg, MSG_NOSIGNAL) < 0)
		return -errno;
	if (recv(s->ctl, &answer, sizeof(answer), 0) != sizeof(answer))
		return -ESRCH;
	return answer;
}

pid_t space_run(struct space *s, space_fn *fn, const char *blob, const int *fds, int n, int flags)
{
	static struct request r;
	size_t len = blob ? strlen(blob) + 1 : 1;

	if (len > SPACE_BLOB || n > SPACE_FDS)
		return -EMSGSIZE;
	r.op = REQUEST_RUN;
	r.flags = flags;
	r.fn = fn;
	memcpy(r.blob, blob ? blob : "", len);
	return transact(s, &r, offsetof(struct request, blob) + len, fds, n);
}

int space_kill(struct space *s, pid_t pid, int sig)
{
	static struct request r;

	r.op = REQUEST_KILL;
	r.pid = pid;
	r.sig = sig;
	return transact(s, &r, offsetof(struct request, blob) + 1, NULL, 0);
}

static void child_ended(struct watch *w, short revents)
{
	struct space *s = w->arg;
	struct ended e;

	if (recv(w->fd, &e, sizeof(e), MSG_DONTWAIT) == sizeof(e))
		s->ended(s, e.pid, e.status);
	else if (revents & POLLHUP)
		loop_unwatch(w); /* its end comes as SIGCHLD */
}

static pid_t start_init(int ctl, int events)
{
	struct clone_args args = {.flags = CLONE_NEWPID | CLONE_NEWNS, .exit_signal = SIGCHLD};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0)
		init_main(ctl, events);
	return pid < 0 ? -errno : pid;
}

int space_open(struct space *s, const char *name)
{
	int ctl[2] = {-1, -1}, events[2] = {-1, -1}, err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ctl) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, events) < 0)
		return -errno;
	s->ctl = ctl[0];
	s->events = (struct watch){.fd = events[0], .events = POLLIN, .fn = child_ended, .arg = s};
	s->init = start_init(ctl[1], events[1]);
	close(ctl[1]);
	close(events[1]);
	loop_watch(&s->events);
	if (s->init < 0) {
		err = s->init;
		log_err("cannot make namespaces: %s; run as root on a kernel with pid namespaces",
			strerror(-err));
		s->init = 0;
		space_close(s);
		return err;
	}
	err = cgroup_scope(name, s->init, s->cgroup, sizeof(s->cgroup), &s->cgroup_id);
	if (err == 0)
		err = space_kill(s, 1, 0); /* is it there? */
	if (err < 0) {
		log_err("cannot prepare the application's place: %s", strerror(-err));
		space_close(s);
	}
	return err;
}

void space_close(struct space *s)
{
	loop_unwatch(&s->events);
	if (s->events.fd >= 0)
		close(s->events.fd);
	if (s->ctl >= 0)
		close(s->ctl);
	s->ctl = s->events.fd = -1;
	if (s->init > 0) {
		kill(s->init, SIGKILL);
		while (waitpid(s->init, NULL, 0) < 0 && errno == EINTR)
			;
	}
	s->init = 0;
	if (s->cgroup[0])
		cgroup_remove(s->cgroup);
	s->cgroup[0] = '\0';
}

void space_reap(struct space *s)
{
	if (s->init <= 0 || waitpid(s->init, NULL, WNOHANG) != s->init)
		return;
	s->init = 0;
	space_close(s);
	s->lost(s);
}

/* ---- pids ---------------------------------------------------------------------- */

static ino_t pid_ns_of(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

struct pids {
	pid_t *list; /* ends with 0 */
	size_t n, room;
};

static void pids_add(struct pids *p, pid_t pid)
{
	pid_t *more;

	if (p->n + 2 > p->room) {
		more = realloc(p->list, (p->room * 2 + 64) * sizeof(*more));
		if (!more)
			return;
		p->list = more;
		p->room = p->room * 2 + 64;
	}
	p->list[p->n++] = pid;
	p->list[p->n] = 0;
}

/* The kernel's list of a thread's children; -ENOENT when it keeps none. */
static int children_of(struct pids *p, pid_t pid, const char *tid)
{
	char path[96];
	_free_ char *line = NULL;
	size_t size = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	if (getline(&line, &size, f) > 0) {
		char *word, *rest = line;

		while ((word = strsep(&rest, " ")))
			if (*word)
				pids_add(p, (pid_t)strtol(word, NULL, 10));
	}
	fclose(f);
	return 0;
}

/* Everything in the namespace descends from its PID 1, by way of CRIU while that restores. */
static int walk_children(struct pids *p, pid_t init)
{
	size_t at = 0;
	pid_t pid = init;

	for (;;) {
		char path[64];
		struct dirent *e;
		DIR *d;
		int err = 0;

		snprintf(path, sizeof(path), "/proc/%d/task", pid);
		d = opendir(path);
		while (d && (e = readdir(d)))
			if (*e->d_name != '.' && (err = children_of(p, pid, e->d_name)) < 0 && pid == init)
				break;
		if (d)
			closedir(d);
		if (err < 0 && pid == init)
			return err;
		if (at >= p->n)
			return 0;
		pid = p->list[at++];
	}
}

/* Where the kernel keeps no lists of children: look at every process there is. */
static void scan_all(struct pids *p, pid_t init)
{
	ino_t ns = pid_ns_of(init);
	DIR *d = opendir("/proc");
	struct dirent *e;

	while (ns && d && (e = readdir(d))) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

		if (pid > 0 && pid != init && pid_ns_of(pid) == ns)
			pids_add(p, pid);
	}
	if (d)
		closedir(d);
}

pid_t *space_pids(const struct space *s)
{
	struct pids p = {0};
	long high = high_pid_base();
	size_t kept = 0;

	if (s->init > 0 && walk_children(&p, s->init) < 0)
		scan_all(&p, s->init);
	for (size_t i = 0; i < p.n; i++) {
		pid_t inner = fds_inner_pid(p.list[i]);

		if (inner > 1 && inner <= high)
			p.list[kept++] = p.list[i];
	}
	if (!p.list)
		return calloc(1, sizeof(*p.list));
	p.list[kept] = 0;
	return p.list;
}

pid_t space_host_pid(const struct space *s, pid_t pid)
{
	pid_t *list = space_pids(s), found = 0;

	for (pid_t *p = list; p && *p && !found; p++)
		if (fds_inner_pid(*p) == pid)
			found = *p;
	free(list);
	return found;
}

bool space_holds(const struct space *s, pid_t pid)
{
	ino_t ns = s->init > 0 ? pid_ns_of(s->init) : 0;

	return ns && pid != s->init && pid_ns_of(pid) == ns;
}
