// SPDX-License-Identifier: GPL-2.0
/*
 * The source of a move: CRIU is made ready while the application runs, then it
 * freezes, and the frozen application waits for word.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"
#include "userland/run/carry_int.h"
#include "userland/run/logfile.h"
#include "userland/run/notice.h"
#include "userland/run/stdio.h"

#define BACKLOG_TRIES	100
#define BACKLOG_STEP_US 5000
#define BACKLOG_SHORT	4     /* tries, where it can go along */
#define READY_MS	30000 /* then nobody will come to freeze it */

/* Should CRIU be killed while it holds them, they stop instead of running on. */
static void stop_all(int sig)
{
	_free_ pid_t *pids = space_pids(&run.space);

	for (pid_t *p = pids; p && *p; p++)
		kill(*p, sig);
}

static json_t *app_json(json_t *stdio)
{
	_free_ pid_t *pids = space_pids(&run.space);
	json_t *pipes = json_array(), *users = json_array();
	uint64_t ino[3];
	int n[3];

	carry_pipes(ino);
	ckpt_pipe_users(pids, ino, n);
	for (int i = 0; i < 3; i++) {
		json_array_append_new(pipes, json_integer((json_int_t)ino[i]));
		json_array_append_new(users, json_integer(n[i]));
	}
	return json_pack("{so so so sI so}", "pipes", pipes, "users", users, "stdio", stdio, "frozen_at_ms",
			 (json_int_t)now.frozen_at_ms, "notices", notice_export());
}

static int write_log(void)
{
	char path[PATH_MAX + 16];
	size_t len;
	_free_ char *tail = logfile_tail(CARRY_LOG_CARRIED, &len);
	_close_ int fd = -1;

	if (!run.opts.detach)
		return 0;
	snprintf(path, sizeof(path), "%s/" CARRY_LOG_FILE, now.dir);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 || !tail || write(fd, tail, len) != (ssize_t)len ? -EIO : 0;
}

static int write_app(void)
{
	json_t *stdio = stdio_export(now.dir), *app;
	char path[PATH_MAX + 16];
	int err;

	if (!stdio)
		return -EIO;
	app = app_json(stdio);
	snprintf(path, sizeof(path), "%s/" CARRY_APP_FILE, now.dir);
	err = json_dump_file(app, path, JSON_COMPACT) < 0 ? -EIO : 0;
	json_decref(app);
	return err ?: write_log();
}

static void stream_close(void)
{
	if (now.stream >= 0)
		close(now.stream);
	now.stream = -1;
}

void carry_thawed(void)
{
	ckpt_queues_drop(true);
	stop_all(SIGCONT);
	carry_ahead(false);
	worker_stop(&now.mover);
	stream_close();
	carry_drop_images();
	carry_perf_close();
	stdio_freeze(false);
	now.ready = now.go = false;
	run.state = RUN_RUNNING;
	notice_stayed();
}

/* What was exported goes on here after all. */
static void connections_back(const pid_t *pids)
{
	char error[CKPT_ERROR_MAX];

	if (!now.apart || ckpt_conns_run(pids, 0, error) >= 0)
		return;
	log_err("%s: %s", run.opts.name, error);
	ckpt_repair_off(pids);
}

/* How many connections are in the images now, or -errno with what to say. */
static int write_rest(const pid_t *pids, const char **remedy, char error[CKPT_ERROR_MAX])
{
	int n = now.apart ? ckpt_conns_export(pids, now.dir, error) : ckpt_connections(pids);

	*remedy = "it runs on; try again";
	if (n < 0 || (write_app() == 0 && ckpt_options_save(pids, now.dir) == 0 &&
		      (now.close || ckpt_queues_save(pids, now.dir) == 0)))
		return n;
	connections_back(pids);
	*remedy = "free memory: the images lie in /run";
	snprintf(error, CKPT_ERROR_MAX, "cannot write what belongs to the images");
	return -EIO;
}

static void dump_held(json_t *message)
{
	_free_ pid_t *pids = space_pids(&run.space);
	char error[CKPT_ERROR_MAX] = "";
	const char *remedy;
	int n;

	now.frozen_at_ms = json_integer_value(json_object_get(message, "held"));
	stop_all(SIGSTOP);
	run.state = RUN_FROZEN;
	n = write_rest(pids, &remedy, error);
	if (n >= 0) {
		worker_tell(&now.mover, "go");
		carry_answer_ok(json_pack("{sI sI si}", "frozen_at_ms", (json_int_t)now.frozen_at_ms, "bytes",
					  (json_int_t)ckpt_dir_bytes(now.dir), "sockets", n));
		return;
	}
	stop_all(SIGCONT);
	worker_tell(&now.holder, "undo"); /* its answer brings us back to running */
	carry_answer_error(remedy, error);
}

/* What waits for accept(): give the program the time to take it. How many it did not. */
static int drain_backlog(void)
{
	_free_ pid_t *pids = space_pids(&run.space);
	int n = ckpt_backlog(pids);

	for (int i = 0; i < (now.queues ? BACKLOG_SHORT : BACKLOG_TRIES) && n > 0; i++) {
		usleep(BACKLOG_STEP_US);
		n = ckpt_backlog(pids);
	}
	return n;
}

static void freeze(void)
{
	now.ready = now.go = false;
	stdio_freeze(true);
	if (drain_backlog() > 0 && !now.queues && !now.close) {
		worker_stop(&now.holder);
		carry_thawed();
		carry_answer_error("try again when the program is less busy",
				   "it does not accept connections that wait for it");
		return;
	}
	carry_ahead(true);
	if (worker_tell(&now.holder, "go") == 0) {
		if (now.stream >= 0)
			carry_send_early(now.stream);
		now.stream = -1;
		return;
	}
	carry_thawed();
	carry_answer_error("try again", "CRIU ended without a word");
}

/* CRIU that was made ready goes; it has touched nothing. */
void carry_unready(void)
{
	if (!now.ready)
		return;
	now.ready = false;
	worker_stop(&now.holder);
	carry_drop_images();
	carry_perf_close();
}

static void ready_over(struct timer *t)
{
	(void)t;
	carry_unready();
}

static void dump_ready(void)
{
	static struct timer timer = {.fn = ready_over};

	now.ready = true;
	if (now.go) {
		freeze();
		return;
	}
	loop_timer(&timer, READY_MS);
	carry_answer_ok(NULL);
}

static void dump_said(json_t *message)
{
	const char *error = json_string_value(json_object_get(message, "error"));

	if (json_object_get(message, "ready")) {
		dump_ready();
	} else if (json_object_get(message, "held")) {
		dump_held(message);
	} else if (error) {
		worker_stop(&now.holder);
		carry_thawed();
		carry_answer_error("it runs on; `netctl migrate --dry-run` names what cannot be moved",
				   error);
	} else if (json_object_get(message, "done") && run.state == RUN_FROZEN) {
		worker_stop(&now.holder);
		carry_thawed();
		carry_answer_ok(NULL);
	}
}

/* The worker is gone. It said why, or was killed: then all it held is stopped now. */
static void dump_ended(void)
{
	if (run.state == RUN_FROZEN) {
		log_err("%s: CRIU was killed while it held the application; it stays stopped", run.opts.name);
	} else if (run.state == RUN_RUNNING && (now.busy || now.ready)) {
		carry_thawed();
		carry_answer_error("try again", "CRIU ended without a word");
	}
}

static void refuse_dump(json_t *list)
{
	json_t *first = json_array_get(list, 0);
	char text[PATH_MAX + 256];
	const char *path = json_string_value(json_object_get(first, "path"));

	snprintf(text, sizeof(text), "pid %d fd %d%s%s: %s",
		 (int)json_integer_value(json_object_get(first, "pid")),
		 (int)json_integer_value(json_object_get(first, "fd")), path && *path ? " " : "",
		 path ? path : "", json_string_value(json_object_get(first, "reason")));
	carry_answer_error(json_string_value(json_object_get(first, "remedy")), text);
}

static json_t *order(json_t *args)
{
	json_t *o = json_pack("{ss ss sb sb si}", "criu", carry_criu(args) ?: "criu", "dir", now.dir, "close",
			      json_is_true(json_object_get(args, "close")), "apart", now.apart, "rounds",
			      (int)now.rounds);
	char parent[16];

	if (ckpt_round_memory(now.dir, now.rounds)) {
		ckpt_round_parent(parent, sizeof(parent), now.rounds, false);
		json_object_set_new(o, "parent", json_string(parent));
	}
	return o;
}

static void start(json_t *args)
{
	json_t *list = carry_refusals();
	int err;

	if (json_array_size(list) > 0) {
		stream_close();
		refuse_dump(list);
		json_decref(list);
		return;
	}
	json_decref(list);
	now.apart = json_is_true(json_object_get(args, "conns"));
	now.queues = json_is_true(json_object_get(args, "queues"));
	now.close = json_is_true(json_object_get(args, "close"));
	err = carry_take_dir(args);
	if (err == 0) {
		carry_perf_open();
		now.holder.said = dump_said;
		now.holder.ended = dump_ended;
		err = worker_inside(&now.holder, &run.space, carry_dump_inside, order(args), NULL, 0, 0);
	}
	if (err < 0) {
		carry_thawed();
		carry_answer_error("give a directory on /run", strerror(-err));
	}
}

void carry_ready(struct keeper_request rq, json_t *args, int fd)
{
	(void)fd;
	if (!carry_begin(rq, run.state == RUN_RUNNING, "a running application"))
		return;
	carry_unready();
	now.go = false;
	start(args);
}

void carry_dump(struct keeper_request rq, json_t *args, int fd)
{
	_close_ int stream = fd;

	if (!carry_begin(rq, run.state == RUN_RUNNING, "a running application"))
		return;
	now.stream = take_fd(stream);
	if (now.ready) {
		freeze();
		return;
	}
	now.go = true;
	start(args);
}

void carry_thaw(struct keeper_request rq, json_t *args, int fd)
{
	_free_ pid_t *pids = NULL;
	bool held;

	(void)args;
	(void)fd;
	if (run.state == RUN_RUNNING || run.state == RUN_PAUSED) { /* a dump that failed ran on by itself */
		carry_unready();
		notice_stayed();
		carry_rounds_end(rq);
		return;
	}
	worker_stop(&now.mover);
	now.busy = false;
	if (!carry_begin(rq, run.state == RUN_FROZEN, "a frozen application"))
		return;
	pids = space_pids(&run.space);
	held = ckpt_traced(pids);
	connections_back(pids);
	if (held)
		stop_all(SIGCONT); /* takes the pending stop away, while they are still held */
	if (held && worker_tell(&now.holder, "undo") == 0)
		return;
	worker_stop(&now.holder);
	ckpt_repair_off(pids);
	carry_thawed();
	carry_answer_ok(NULL);
}
