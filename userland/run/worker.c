// SPDX-License-Identifier: GPL-2.0
/* Workers: one socket each. The end of the socket is the end of the worker. */
#include "userland/run/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"

static void finish(struct worker *w)
{
	loop_unwatch(&w->w);
	jsonline_close(&w->line);
	if (w->pid > 0)
		while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
			;
	w->pid = 0;
	w->busy = false;
}

static void event(struct watch *watch, short revents)
{
	struct worker *w = watch->arg;
	ssize_t n = jsonline_fill(&w->line);
	json_t *message;
	int r = 0;

	(void)revents;
	while (w->busy && n > 0 && (r = jsonline_next(&w->line, &message)) > 0) {
		w->said(message);
		json_decref(message);
	}
	if (!w->busy || (r >= 0 && (n > 0 || n == -EAGAIN)))
		return;
	finish(w);
	w->ended();
}

static void begin(struct worker *w, int fd, pid_t pid)
{
	jsonline_init(&w->line, fd);
	w->pid = pid;
	w->busy = true;
	w->w = (struct watch){.fd = fd, .events = POLLIN, .fn = event, .arg = w};
	loop_watch(&w->w);
}

int worker_inside(struct worker *w, struct space *s, space_fn *fn, json_t *order, const int *fds, int n,
		  int flags)
{
	_free_ char *text = json_dumps(order, JSON_COMPACT);
	int all[SPACE_FDS], p[2], pid;

	json_decref(order);
	if (!text || n + 1 > SPACE_FDS)
		return -EINVAL;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
		return -errno;
	all[0] = p[1];
	for (int i = 0; i < n; i++)
		all[i + 1] = fds[i];
	pid = space_run(s, fn, text, all, n + 1, SPACE_HIGH_PID | flags);
	close(p[1]);
	if (pid < 0) {
		close(p[0]);
		return pid;
	}
	begin(w, p[0], 0);
	return 0;
}

static void child(int (*fn)(struct jsonline *to, json_t *order, int fd), json_t *order, int sock, int fd)
{
	struct jsonline to;
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Nothing else of the supervisor's may be held open by this child. */
	dup2(sock, 3);
	dup2(fd, 4);
	close_range(5, ~0U, 0);
	jsonline_init(&to, 3);
	_exit(fn(&to, order, 4) ? 1 : 0);
}

int worker_beside(struct worker *w, int (*fn)(struct jsonline *to, json_t *order, int fd), json_t *order,
		  int fd)
{
	int p[2], high, sock;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
		return -errno;
	high = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	sock = fcntl(p[1], F_DUPFD_CLOEXEC, 10);
	close(p[1]);
	close(fd);
	pid = high < 0 || sock < 0 ? -1 : fork();
	if (pid == 0)
		child(fn, order, sock, high);
	close(sock);
	close(high);
	json_decref(order);
	if (pid < 0) {
		close(p[0]);
		return -errno;
	}
	begin(w, p[0], pid);
	return 0;
}

int worker_send(struct worker *w, json_t *line)
{
	int err = w->busy ? jsonline_send(&w->line, line, NULL, 0) : -ENOTCONN;

	json_decref(line);
	return err;
}

int worker_tell(struct worker *w, const char *what)
{
	return worker_send(w, json_pack("{ss}", "do", what));
}

void worker_stop(struct worker *w)
{
	if (!w->busy)
		return;
	if (w->pid > 0)
		kill(w->pid, SIGKILL);
	finish(w);
}
