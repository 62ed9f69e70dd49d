// SPDX-License-Identifier: GPL-2.0
/*
 * The target of a move: the images become processes that are stopped until the
 * word comes that this node owns them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"
#include "userland/run/carry_int.h"
#include "userland/run/logfile.h"
#include "userland/run/notice.h"
#include "userland/run/stdio.h"

#define CLOCK_SLACK_MS 100 /* of two nodes' clocks */
#define FROZEN_MAX_MS  600000

static int load_app(void)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/" CARRY_APP_FILE, now.dir);
	json_decref(now.app);
	now.app = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	return json_array_size(json_object_get(now.app, "pipes")) == 3 ? 0 : -EPROTO;
}

/* CRIU makes fresh pipes, without a word, when an inode does not match. */
static bool pipes_are_ours(void)
{
	_free_ pid_t *pids = space_pids(&run.space);
	json_t *wanted = json_object_get(now.app, "users");
	uint64_t ino[3];
	int users[3];

	carry_pipes(ino);
	ckpt_pipe_users(pids, ino, users);
	for (size_t i = 0; i < 3; i++)
		if (users[i] != json_integer_value(json_array_get(wanted, i)))
			return false;
	return true;
}

static void data_undone(void)
{
	if (now.swapped)
		ckpt_data_undo(run.opts.data);
	else
		ckpt_data_forget(run.opts.data);
	now.swapped = false;
}

/* What was in place before may be large: nobody waits for its end. */
static void data_done(void)
{
	pid_t pid = now.swapped ? fork() : -1;

	now.swapped = false;
	if (pid == 0) {
		if (fork() == 0)
			ckpt_data_forget(run.opts.data);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Its directories are unpacked beside their places. */
static void restore_unpacked(void)
{
	char error[CKPT_ERROR_MAX] = "";

	now.swapped = ckpt_data_swap(run.opts.data, error) == 0;
	if (now.swapped && worker_tell(&now.holder, "go") == 0)
		return;
	carry_restore_undone();
	carry_answer_error("it goes on where it was", error);
}

void carry_restore_undone(void)
{
	carry_ahead(false);
	run.state = now.home ? RUN_MOVED : RUN_WAITING;
	if (now.piped)
		stdio_leave();
	notice_forget();
	stdio_freeze(false);
	space_close(&run.space);
	worker_stop(&now.holder);
	data_undone();
	now.home = now.piped = now.unpacks = now.ready = now.go = false;
	run.pid = run.main_pid = 0;
}

/* What CRIU restored is not what was moved. */
static void restore_wrong(const char *remedy, const char *text)
{
	worker_tell(&now.holder, "undo");
	carry_restore_undone();
	carry_answer_error(remedy, text);
}

static void restore_held(void)
{
	_free_ pid_t *pids = space_pids(&run.space);
	char error[CKPT_ERROR_MAX] = "";

	if (!pipes_are_ours()) {
		restore_wrong("use the same CRIU on both nodes",
			      "CRIU did not connect the application's stdio");
		return;
	}
	if (now.apart && ckpt_conns_import(pids, now.dir, error) < 0) {
		restore_wrong("it goes on where it was", error);
		return;
	}
	ckpt_options_load(pids, now.dir);
	app_find_pids();
	notice_import(json_object_get(now.app, "notices"));
	run.state = RUN_RESTORED;
	carry_answer_ok(json_pack("{si si ss sI}", "pid", run.pid, "main", run.main_pid, "cgroup",
				  run.space.cgroup, "cgroup_id", (json_int_t)run.space.cgroup_id));
}

/* As if the connections had lived on here since the freeze. */
static void catch_up(void)
{
	_free_ pid_t *pids = space_pids(&run.space);
	int64_t frozen_at = json_integer_value(json_object_get(now.app, "frozen_at_ms"));
	char error[CKPT_ERROR_MAX];
	struct timespec ts;
	int64_t ms;

	clock_gettime(CLOCK_REALTIME, &ts);
	ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 - frozen_at;
	if (ms < 0 || ms > FROZEN_MAX_MS)
		ms = 0;
	if (!now.apart)
		ckpt_advance_clock(pids, (uint32_t)ms + CLOCK_SLACK_MS);
	else if (ckpt_conns_run(pids, (uint32_t)ms + CLOCK_SLACK_MS, error) < 0)
		log_err("%s: %s", run.opts.name, error); /* it must run all the same */
}

static void resumed(void)
{
	worker_stop(&now.holder);
	run.state = RUN_RUNNING;
	now.home = now.piped = now.unpacks = now.ready = now.go = false;
	run.place[0] = '\0';
	/* First of all: packets are held until netd knows. */
	carry_answer_ok(json_pack("{si si}", "pid", run.pid, "main", run.main_pid));
	carry_ahead(false);
	notice_arrived(now.kept);
	carry_drop_images();
	data_done();
}

/* The images are here and CRIU waits. */
static void go(void)
{
	int err = load_app();

	now.ready = now.go = false;
	carry_ahead(true);
	if (err == 0)
		err = worker_send(&now.holder, json_pack("{ss sO}", "do", "go", "pipes",
							 json_object_get(now.app, "pipes")));
	if (err == 0)
		return;
	carry_restore_undone();
	carry_answer_error("send the images again", strerror(-err));
}

static const char *restore_remedy(const char *error)
{
	if (strstr(error, "Address already in use"))
		return "`netctl ports` tells who has its port";
	if (now.kept)
		return "nothing was started; files must have the path and content that they had when it was "
		       "written";
	return "it goes on where it was; files must have the same path and content on both nodes";
}

static void restore_said(json_t *message)
{
	const char *error = json_string_value(json_object_get(message, "error"));

	if (json_object_get(message, "ready")) {
		now.ready = true;
		if (now.go)
			go();
	} else if (json_object_get(message, "unpacked")) {
		restore_unpacked();
	} else if (json_object_get(message, "held")) {
		restore_held();
	} else if (json_object_get(message, "running")) {
		resumed();
	} else if (error && run.state == RUN_RESTORED) { /* after resume: it is lost */
		carry_answer_error("see the log of CRIU in the message", error);
		app_ended(SIGKILL);
	} else if (error) {
		carry_restore_undone();
		carry_answer_error(restore_remedy(error), error);
	}
}

static void restore_ended(void)
{
	if (run.state == RUN_RESTORED) {
		carry_answer_error("try again", "CRIU was killed");
		app_ended(SIGKILL);
	} else if (!now.go) {
		now.ready = false; /* before its time: another is started then */
	} else {
		carry_restore_undone();
		carry_answer_error("try again", "CRIU ended without a word");
	}
}

int carry_prestart(const char *criu)
{
	int child[3] = {-1, -1, -1}, err;

	now.home = run.state == RUN_MOVED;
	now.holder.said = restore_said;
	now.holder.ended = restore_ended;
	stdio_freeze(true);
	err = app_prepare();
	if (err == 0)
		err = stdio_pipes(run.opts.uid, run.opts.gid, child);
	now.piped = err == 0;
	if (err == 0)
		err = worker_inside(&now.holder, &run.space, carry_restore_inside,
				    json_pack("{ss ss sb sb si}", "criu", criu, "dir", now.dir, "close",
					      now.kept && !now.connect, "apart", now.apart, "rounds",
					      (int)now.rounds),
				    child, 3, SPACE_HIGH_PIDS);
	for (int i = 0; i < 3; i++)
		if (child[i] >= 0)
			close(child[i]);
	return err;
}

void carry_restore(struct keeper_request rq, json_t *args, int fd)
{
	const char *dir = json_string_value(json_object_get(args, "dir"));
	int err = 0;

	(void)fd;
	if (!carry_begin(rq, run.state == RUN_WAITING || run.state == RUN_MOVED, "images that came"))
		return;
	if (!dir || strcmp(dir, now.dir) != 0) {
		carry_answer_error("use the directory of recv", "no images came there");
		return;
	}
	now.go = true;
	now.connect = json_is_true(json_object_get(args, "connect"));
	if (now.ready)
		go();
	else if (!now.holder.busy)
		err = carry_prestart(carry_criu(args) ?: "criu");
	if (err < 0) {
		carry_restore_undone();
		carry_answer_error("try again", strerror(-err));
	}
}

static void import_log(void)
{
	char path[PATH_MAX + 16];
	char *buf = run.opts.detach ? malloc(CARRY_LOG_CARRIED) : NULL;
	_close_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/" CARRY_LOG_FILE, now.dir);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (buf && fd >= 0 && (n = read(fd, buf, CARRY_LOG_CARRIED)) > 0)
		logfile_write(buf, (size_t)n);
	free(buf);
}

void carry_resume(struct keeper_request rq, json_t *args, int fd)
{
	const char *node = json_string_value(json_object_get(args, "node"));
	int err;

	(void)fd;
	if (run.state == RUN_RUNNING) {
		keeper_ok(rq, NULL);
		return;
	}
	if (!carry_begin(rq, run.state == RUN_RESTORED, "a restored application"))
		return;
	snprintf(run.here, sizeof(run.here), "%s", node ?: "");
	import_log();
	err = stdio_import(now.dir, json_object_get(now.app, "stdio"));
	if (err < 0) /* it must run all the same: this node owns it now */
		log_err("%s: some of its stdio was lost on the way: %s", run.opts.name, strerror(-err));
	stdio_freeze(false);
	catch_up();
	err = worker_tell(&now.holder, "go");
	if (err < 0) {
		carry_answer_error("try again", strerror(-err));
		app_ended(SIGKILL);
	}
}
