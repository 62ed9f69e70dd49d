// SPDX-License-Identifier: GPL-2.0
/*
 * The keeper's socket. A lock file beside it holds the name on this node: the
 * socket of a keeper that was killed is replaced, that of a living one never.
 */
#include "userland/run/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/jsonline.h"
#include "userland/lib/log.h"
#include "userland/run/carry.h"
#include "userland/run/freeze.h"
#include "userland/run/logfile.h"
#include "userland/run/notice.h"
#include "userland/run/run.h"

#define MAX_CONNS  8
#define LOCK_DIR   RUN_DIR "/lock"
#define LOCK_TRIES 50 /* of 100 ms: the one before may be about to end */
#define LOGS_LINES 1000

struct conn {
	unsigned int serial; /* 0: free */
	bool leave;	     /* close after the answer: the standby's connection */
	struct jsonline line;
	struct watch w;
};

static struct conn conns[MAX_CONNS];
static unsigned int last_serial;
static struct watch listener = {.fd = -1};
static char socket_name[OPTS_NAME_MAX + 2];
static int lock_fd = -1;

/* ---- connections -------------------------------------------------------------------------- */

static void conn_close(struct conn *c)
{
	loop_unwatch(&c->w);
	jsonline_close(&c->line);
	c->serial = 0;
}

static void conn_send(struct conn *c, json_t *obj)
{
	if (jsonline_send(&c->line, obj, NULL, 0) < 0)
		conn_close(c);
}

static struct conn *conn_find(unsigned int serial)
{
	for (int i = 0; i < MAX_CONNS; i++)
		if (serial && conns[i].serial == serial)
			return &conns[i];
	return NULL;
}

void keeper_event(json_t *event)
{
	json_t *line = json_pack("{so}", "event", event);

	for (int i = 0; i < MAX_CONNS; i++)
		if (conns[i].serial)
			conn_send(&conns[i], line);
	json_decref(line);
}

void keeper_ok(struct keeper_request rq, json_t *fields)
{
	struct conn *c = conn_find(rq.conn);
	json_t *line;

	if (!fields)
		fields = json_object();
	json_object_set_new(fields, "state", json_string(run_state_name(run.state)));
	line = json_pack("{sI so}", "id", rq.id, "ok", fields);
	if (c) {
		conn_send(c, line);
		if (c->serial == rq.conn && c->leave)
			conn_close(c);
	}
	json_decref(line);
}

void keeper_error(struct keeper_request rq, const char *remedy, const char *fmt, ...)
{
	struct conn *c = conn_find(rq.conn);
	char text[1024];
	va_list ap;
	json_t *line;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	line = json_pack("{sI so si so}", "id", rq.id, "error", jsonline_string(text, sizeof(text)), "code",
			 1, "remedy", remedy ? jsonline_string(remedy, 512) : json_string(""));
	if (c)
		conn_send(c, line);
	json_decref(line);
}

/* ---- operations that are not about moves ----------------------------------------------------- */

static void op_prepare(struct keeper_request rq, json_t *args, int fd)
{
	(void)args;
	(void)fd;
	if (app_prepare() < 0)
		keeper_error(rq, "see the supervisor's messages", "cannot make the application's namespaces");
	else
		keeper_ok(rq, json_pack("{ss sI}", "cgroup", run.space.cgroup, "cgroup_id",
					(json_int_t)run.space.cgroup_id));
}

static void op_go(struct keeper_request rq, json_t *args, int fd)
{
	const char *node = json_string_value(json_object_get(args, "node"));
	struct conn *c = conn_find(rq.conn);
	int err;

	(void)fd;
	if (run.state == RUN_RUNNING) {
		keeper_ok(rq, json_pack("{si}", "pid", run.pid));
		return;
	}
	if (run.state != RUN_STARTING) {
		keeper_error(rq, NULL, "not waiting to start");
		return;
	}
	if (run.opts.standby && c)
		c->leave = true;
	if (node) {
		snprintf(run.origin, sizeof(run.origin), "%s", node);
		snprintf(run.here, sizeof(run.here), "%s", node);
	}
	err = run.opts.standby ? keeper_take_name() : 0;
	if (err == 0)
		err = app_start();
	if (err < 0) {
		keeper_error(rq, "see the supervisor's messages", "cannot start: %s", strerror(-err));
		run_say("cannot start %s: %s", run.opts.name, strerror(-err));
		run_end(RUN_EXIT);
		return;
	}
	keeper_ok(rq, json_pack("{si si ss sI}", "pid", run.pid, "main", run.main_pid, "cgroup",
				run.space.cgroup, "cgroup_id", (json_int_t)run.space.cgroup_id));
	claim_went();
}

static void op_say(struct keeper_request rq, json_t *args, int fd)
{
	const char *text = json_string_value(json_object_get(args, "text"));

	(void)fd;
	if (text)
		run_say("%s", text);
	keeper_ok(rq, NULL);
}

static void op_signal(struct keeper_request rq, json_t *args, int fd)
{
	json_int_t sig = json_integer_value(json_object_get(args, "sig"));

	(void)fd;
	if (sig < 1 || sig > 64)
		keeper_error(rq, "`kill -l` lists them", "there is no signal %lld", (long long)sig);
	else if (run.state != RUN_RUNNING && run.state != RUN_PAUSED)
		keeper_error(rq, "try again", "it is not running at the moment");
	else {
		app_signal((int)sig);
		if (sig == SIGKILL)
			freeze_over();
		keeper_ok(rq, NULL);
	}
}

static void op_logs(struct keeper_request rq, json_t *args, int fd)
{
	json_t *lines = json_object_get(args, "lines");
	json_int_t max = json_is_integer(lines) ? json_integer_value(lines) : LOGS_LINES;

	(void)fd;
	if (!*logfile_path())
		keeper_error(rq, "start it with --detach, or look where its supervisor writes",
			     "its output goes to its supervisor's terminal or service");
	else
		keeper_ok(rq, json_pack("{so}", "lines", logfile_lines(max > 0 ? (size_t)max : 0)));
}

static void op_lost(struct keeper_request rq, json_t *args, int fd)
{
	const char *text = json_string_value(json_object_get(args, "text"));

	(void)fd;
	if (run.state != RUN_MOVED) {
		keeper_error(rq, NULL, "it runs here");
		return;
	}
	keeper_ok(rq, NULL);
	run_say("%s is no more: %s", run.opts.name, text ? text : "its node died");
	run_end(RUN_EXIT);
}

/* The application goes on without us: who ends us must not end it. */
static void op_handover(struct keeper_request rq, json_t *args, int fd)
{
	const char *text = json_string_value(json_object_get(args, "text"));
	const char *node = json_string_value(json_object_get(args, "node"));

	(void)fd;
	if (run.state != RUN_MOVED) {
		keeper_error(rq, NULL, "it is not elsewhere; it is %s", run_state_name(run.state));
		return;
	}
	keeper_ok(rq, NULL);
	if (text)
		run_say("%s: %s", run.opts.name, text);
	else
		run_say("%s goes on on %s; this node is drained", run.opts.name, node ? node : run.place);
	run_end(0);
}

static const struct {
	const char *op;
	keeper_op_fn *fn;
} ops[] = {
	{"prepare", op_prepare},
	{"go", op_go},
	{"say", op_say},
	{"signal", op_signal},
	{"logs", op_logs},
	{"lost", op_lost},
	{"check", carry_check},
	{"ready", carry_ready},
	{"dump", carry_dump},
	{"send", carry_send},
	{"recv", carry_recv},
	{"restore", carry_restore},
	{"resume", carry_resume},
	{"thaw", carry_thaw},
	{"discard", carry_discard},
	{"stdio", carry_stdio},
	{"moved", carry_moved},
	{"handover", op_handover},
	{"place", carry_place},
	{"seal", carry_seal},
	{"load", carry_load},
	{"pause", freeze_app},
	{"unpause", freeze_thaw},
	{"round", carry_round},
	{"notice", notice_tell},
};

static void conn_line(struct conn *c, json_t *line)
{
	struct keeper_request rq = {c->serial, json_integer_value(json_object_get(line, "id"))};
	const char *op = json_string_value(json_object_get(line, "op"));
	/* Of two lines that came together the first must not take what belongs to the second. */
	int fd = json_is_true(json_object_get(line, "fd")) ? jsonline_take_fd(&c->line) : -1;

	for (size_t i = 0; op && i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (strcmp(op, ops[i].op) == 0) {
			ops[i].fn(rq, line, fd);
			return;
		}
	}
	if (fd >= 0)
		close(fd);
	keeper_error(rq, "use netd and ssi-run of the same version", "unknown operation '%s'", op ? op : "");
}

static void conn_event(struct watch *w, short revents)
{
	struct conn *c = w->arg;
	unsigned int serial = c->serial;
	ssize_t n = jsonline_fill(&c->line);
	json_t *line;
	int r = 0;

	(void)revents;
	while (n > 0 && c->serial == serial && (r = jsonline_next(&c->line, &line)) > 0) {
		conn_line(c, line);
		json_decref(line);
	}
	if (c->serial == serial && (r < 0 || n == 0 || (n < 0 && n != -EAGAIN)))
		conn_close(c);
}

static void accept_one(struct watch *w, short revents)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);
	struct conn *c = NULL;
	json_t *hello;

	(void)revents;
	for (int i = 0; i < MAX_CONNS && !c; i++)
		if (!conns[i].serial)
			c = &conns[i];
	if (fd < 0 || !c) {
		if (fd >= 0)
			close(fd);
		return;
	}
	jsonline_init(&c->line, fd);
	c->serial = ++last_serial;
	c->leave = false;
	c->w = (struct watch){.fd = fd, .events = POLLIN, .fn = conn_event, .arg = c};
	loop_watch(&c->w);
	hello = run_hello(socket_name);
	conn_send(c, hello);
	json_decref(hello);
}

/* ---- socket ---------------------------------------------------------------------------------- */

static int lock_name(const char *name, int tries)
{
	char path[128];
	int fd;

	mkdir(LOCK_DIR, 0700);
	snprintf(path, sizeof(path), LOCK_DIR "/%s", name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK || tries-- <= 0) {
			close(fd);
			return -EADDRINUSE;
		}
		usleep(100000);
	}
	return fd;
}

static void socket_path(char *path, size_t size, const char *prefix, const char *name)
{
	snprintf(path, size, KEEPER_DIR "/%s%s", prefix, name);
}

/* What appears under its name answers: bound and listening before. */
static int open_socket(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char path[sizeof(sa.sun_path)];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	socket_path(sa.sun_path, sizeof(sa.sun_path), ".", socket_name);
	socket_path(path, sizeof(path), "", socket_name);
	unlink(sa.sun_path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && chmod(sa.sun_path, 0600) == 0 &&
	    listen(fd, MAX_CONNS) == 0 && rename(sa.sun_path, path) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int keeper_listen(void)
{
	int fd;

	snprintf(socket_name, sizeof(socket_name), "%s%s", run.opts.name,
		 run.opts.standby && !run.opts.keeper ? "@" : "");
	mkdir(RUN_DIR, 0755);
	mkdir(KEEPER_DIR, 0700);
	lock_fd = lock_name(socket_name, run.opts.keeper ? LOCK_TRIES : 0);
	if (lock_fd == -EADDRINUSE) {
		log_err("%s: an application of this name is kept on this node; choose another with --name%s",
			run.opts.name, run.opts.standby ? "" : ", or wait for it with --standby");
		return lock_fd;
	}
	fd = lock_fd < 0 ? lock_fd : open_socket();
	if (fd < 0) {
		log_err("cannot listen in " KEEPER_DIR ": %s", strerror(-fd));
		return fd;
	}
	listener = (struct watch){.fd = fd, .events = POLLIN, .fn = accept_one};
	loop_watch(&listener);
	return 0;
}

static void release_name(void)
{
	char path[128];

	snprintf(path, sizeof(path), LOCK_DIR "/%s", socket_name);
	if (lock_fd >= 0) {
		unlink(path);
		close(lock_fd);
	}
	lock_fd = -1;
}

int keeper_take_name(void)
{
	char from[128], to[128];
	int fd = lock_name(run.opts.name, LOCK_TRIES);

	if (fd < 0)
		return fd;
	socket_path(from, sizeof(from), "", socket_name);
	socket_path(to, sizeof(to), "", run.opts.name);
	release_name();
	lock_fd = fd;
	snprintf(socket_name, sizeof(socket_name), "%s", run.opts.name);
	return rename(from, to) < 0 ? -errno : 0;
}

void keeper_close(void)
{
	char path[128];

	for (int i = 0; i < MAX_CONNS; i++)
		if (conns[i].serial)
			conn_close(&conns[i]);
	if (listener.fd < 0)
		return;
	socket_path(path, sizeof(path), "", socket_name);
	unlink(path);
	loop_unwatch(&listener);
	close(listener.fd);
	listener.fd = -1;
	release_name();
}
