// SPDX-License-Identifier: GPL-2.0
/*
 * One request to `criu swrk`, CRIU's RPC over a socket: the few protobuf fields
 * that are needed are written and read by hand (numbers from CRIU's rpc.proto).
 * CRIU calls back at the hold points ("notify"), and our answer decides.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "ckpt/criu_rpc.h"
#include "userland/lib/cleanup.h"

#define GHOST_LIMIT (1U << 30)
#define FORK_TRIES  200
#define LOG_LEVEL   2 /* errors and warnings */
#define CRIU_FD	    3 /* in CRIU: the socket */
#define PIPE_FD	    4 /* and the next two */

enum mode { DUMP, PRE_DUMP, RESTORE };

static int64_t unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- the log: its last errors explain a failure --------------------------------------- */

/* The text of CRIU's line "(00.012345) Error (file.c:123): text". */
static const char *error_text(const char *line)
{
	const char *at = strstr(line, "Error (");

	if (!at)
		return NULL;
	at = strstr(at, "): ");
	return at ? at + 3 : NULL;
}

static void explain(struct ckpt_job *j, const char *log, const char *what)
{
	char path[4096], line[1024], last[2][384] = {"", ""};
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", j->dir, log);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		const char *text = error_text(line);

		/* the first error is the cause, the last ones its consequences; that of rlimit is none */
		if (!text || last[1][0] || strncmp(text, "rlimit", 6) == 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(last[last[0][0] ? 1 : 0], sizeof(last[0]), "%s", text);
	}
	if (f)
		fclose(f);
	snprintf(j->error, sizeof(j->error), "%s%s%s%s%s", what, last[0][0] ? ": " : "", last[0],
		 last[1][0] ? "; " : "", last[1]);
}

/* ---- request ---------------------------------------------------------------------------- */

/* dir: an fd of this process, by which CRIU finds it in /proc. */
static void put_options(struct criu_rpc *m, const struct ckpt_job *j, int dir, enum mode mode)
{
	bool restore = mode == RESTORE;

	rpc_put_int(m, CRIU_OPTS_IMAGES_DIR_FD, (uint64_t)dir);
	if (!restore)
		rpc_put_int(m, CRIU_OPTS_PID, (uint64_t)j->root);
	if (!restore && j->parent)
		rpc_put_text(m, CRIU_OPTS_PARENT_IMG, j->parent);
	if (mode == PRE_DUMP || (mode == DUMP && j->parent))
		rpc_put_int(m, CRIU_OPTS_TRACK_MEM, 1);
	rpc_put_int(m, j->close || j->apart ? CRIU_OPTS_TCP_CLOSE : CRIU_OPTS_TCP_ESTABLISHED, 1);
	rpc_put_int(m, CRIU_OPTS_TCP_SKIP_IN_FLIGHT, 1); /* see ckpt_queues_save() */
	rpc_put_int(m, CRIU_OPTS_EXT_UNIX_SK, 1);
	rpc_put_int(m, CRIU_OPTS_FILE_LOCKS, 1);
	rpc_put_int(m, CRIU_OPTS_LINK_REMAP, 1);
	rpc_put_int(m, CRIU_OPTS_LOG_LEVEL, LOG_LEVEL);
	rpc_put_text(m, CRIU_OPTS_LOG_FILE, restore ? CKPT_LOG_RESTORE : CKPT_LOG_DUMP);
	rpc_put_int(m, CRIU_OPTS_NOTIFY_SCRIPTS, 1);
	rpc_put_int(m, CRIU_OPTS_MANAGE_CGROUPS_MODE, CRIU_CG_IGNORE);
	rpc_put_int(m, CRIU_OPTS_GHOST_LIMIT, GHOST_LIMIT);
	rpc_put_int(m, CRIU_OPTS_NETWORK_LOCK, CRIU_NETWORK_LOCK_SKIP);
	for (int i = 0; restore && i < 3; i++) {
		struct criu_rpc pipe = {0};
		char key[64];

		snprintf(key, sizeof(key), "pipe:[%llu]", (unsigned long long)j->pipes[i].inode);
		rpc_put_text(&pipe, CRIU_INHERIT_KEY, key);
		rpc_put_int(&pipe, CRIU_INHERIT_FD, (uint64_t)(PIPE_FD + i));
		rpc_put_message(m, CRIU_OPTS_INHERIT_FD, &pipe);
	}
}

static int send_request(int sock, const struct ckpt_job *j, int dir, enum mode mode)
{
	static const int types[] = {CRIU_DUMP, CRIU_SINGLE_PRE_DUMP, CRIU_RESTORE};
	struct criu_rpc req = {0}, opts = {0};

	put_options(&opts, j, dir, mode);
	rpc_put_int(&req, CRIU_REQ_TYPE, (uint64_t)types[mode]);
	rpc_put_message(&req, CRIU_REQ_OPTS, &opts);
	if (req.failed)
		return -EMSGSIZE;
	return send(sock, req.data, req.len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int send_notify_answer(int sock, bool success)
{
	struct criu_rpc req = {0};

	rpc_put_int(&req, CRIU_REQ_TYPE, CRIU_NOTIFY);
	rpc_put_int(&req, CRIU_REQ_NOTIFY_SUCCESS, success);
	return send(sock, req.data, req.len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* ---- the program --------------------------------------------------------------------------- */

static void __attribute__((noreturn)) run_criu(const struct ckpt_job *j, int sock, bool restore)
{
	int fds[4] = {sock, -1, -1, -1};
	int n = restore ? 4 : 1;

	for (int i = 1; i < n; i++)
		fds[i] = j->pipes[i - 1].fd;
	for (int i = 0; i < n; i++)
		fds[i] = fcntl(fds[i], F_DUPFD, 20);
	for (int i = 0; i < n; i++)
		dup2(fds[i], CRIU_FD + i);
	close_range((unsigned int)(CRIU_FD + n), ~0U, 0);
	signal(SIGPIPE, SIG_DFL);
	execlp(j->criu, j->criu, "swrk", "3", NULL);
	_exit(errno == ENOENT ? 127 : 126);
}

pid_t ckpt_fork_at(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&pid, .set_tid_size = 1};
	pid_t end = pid + FORK_TRIES;
	long r;

	do
		r = syscall(SYS_clone3, &args, sizeof(args));
	while (r < 0 && errno == EEXIST && ++pid < end);
	return r < 0 ? -errno : (pid_t)r;
}

static int start_criu(const struct ckpt_job *j, bool restore, pid_t *pid, int *sock)
{
	int p[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p) < 0)
		return -errno;
	*pid = ckpt_fork_at(getpid() + 1);
	if (*pid == 0)
		run_criu(j, p[1], restore);
	close(p[1]);
	*sock = p[0];
	return *pid < 0 ? *pid : 0;
}

/* ---- conversation ------------------------------------------------------------------------------ */

/* A busy machine must not make the time longer in which the processes stand still. What is restored gets
 * the priority that it had, from CRIU. */
static void go_ahead(const struct ckpt_job *j, pid_t pid)
{
	const struct sched_param param = {.sched_priority = CKPT_AHEAD};

	if (j->ahead)
		sched_setscheduler(pid, SCHED_RR, &param);
}

static bool is_hold_point(const char *script, enum mode mode)
{
	static const char *const points[] = {"post-dump", NULL, "post-restore"};

	return points[mode] && strcmp(script, points[mode]) == 0;
}

/* 1: answered, go on; 0: this was the end, successfully; or a negative errno. */
static int take_response(struct ckpt_job *j, pid_t pid, int sock, enum mode mode, const char *data,
			 size_t len)
{
	struct criu_response r;

	if (rpc_parse(data, len, &r) < 0)
		return -EPROTO;
	if (r.type != CRIU_NOTIFY)
		return r.success ? 0 : -EIO;
	if (mode == DUMP && strcmp(r.script, "pre-dump") == 0) {
		if (j->ready(j->arg) != 0)
			return -ECANCELED;
		go_ahead(j, pid);
		j->frozen_at_ms = unix_ms();
	}
	if (mode == RESTORE && strcmp(r.script, "post-resume") == 0)
		j->running(j->arg);
	if (!is_hold_point(r.script, mode))
		return send_notify_answer(sock, true) ?: 1;
	j->held = true;
	j->undone = j->hold(j->arg) != 0;
	return send_notify_answer(sock, !j->undone) ?: 1;
}

static int converse(struct ckpt_job *j, pid_t pid, int sock, int dir, enum mode mode)
{
	char buf[16384];
	int err = send_request(sock, j, dir, mode);

	while (err == 0 || err == 1) {
		ssize_t n = recv(sock, buf, sizeof(buf), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -ECONNRESET;
		err = take_response(j, pid, sock, mode, buf, (size_t)n);
		if (err == 0)
			return 0;
	}
	return err;
}

static int wait_criu(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status;
}

static int criu(struct ckpt_job *j, enum mode mode)
{
	static const char *const names[] = {"dump", "pre-dump", "restore"};
	bool restore = mode == RESTORE;
	const char *log = restore ? CKPT_LOG_RESTORE : CKPT_LOG_DUMP;
	_close_ int dir = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t pid = 0;
	int sock = -1, err, status;
	char what[128];

	if (dir < 0) {
		snprintf(j->error, sizeof(j->error), "%s: %s", j->dir, strerror(errno));
		return -errno;
	}
	err = start_criu(j, restore, &pid, &sock);
	if (err < 0)
		return err;
	if (restore && j->ready(j->arg) != 0)
		err = -ECANCELED;
	if (restore && err == 0)
		go_ahead(j, pid);
	if (err == 0)
		err = converse(j, pid, sock, dir, mode);
	if (err == -ECANCELED) { /* nothing is touched yet */
		kill(pid, SIGKILL);
		close(sock);
		wait_criu(pid);
		return err;
	}
	close(sock);
	status = wait_criu(pid);
	if (err == 0 && status == 0)
		return 0;
	if (j->undone)
		return -ECANCELED;
	if (WIFEXITED(status) && (WEXITSTATUS(status) == 127 || WEXITSTATUS(status) == 126))
		snprintf(what, sizeof(what),
			 "cannot run CRIU ('%.64s'); install it, or set criu in netd.conf", j->criu);
	else if (WIFSIGNALED(status))
		snprintf(what, sizeof(what), "CRIU was killed by signal %d", WTERMSIG(status));
	else
		snprintf(what, sizeof(what), "CRIU %s failed", names[mode]);
	explain(j, log, what);
	return err < 0 ? err : -EIO;
}

int ckpt_dump(struct ckpt_job *j)
{
	return criu(j, DUMP);
}

int ckpt_predump(struct ckpt_job *j)
{
	return criu(j, PRE_DUMP);
}

int ckpt_restore(struct ckpt_job *j)
{
	return criu(j, RESTORE);
}
