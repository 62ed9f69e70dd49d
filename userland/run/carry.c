// SPDX-License-Identifier: GPL-2.0
/* The requests of a move: who may ask for what, transfers, and the end. See carry_int.h. */
#include "userland/run/carry_int.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/jsonline.h"
#include "userland/lib/log.h"
#include "userland/run/logfile.h"
#include "userland/run/notice.h"
#include "userland/run/stdio.h"

#define PROGRESS_BYTES (8 << 20)

struct carry now = {.perf_fd = -1, .stream = -1};

/* ---- helpers -------------------------------------------------------------------------------- */

void carry_answer_ok(json_t *fields)
{
	struct keeper_request rq = now.rq;

	if (!now.busy) {
		json_decref(fields);
		return;
	}
	now.busy = false;
	keeper_ok(rq, fields);
}

void carry_answer_error(const char *remedy, const char *text)
{
	struct keeper_request rq = now.rq;

	if (!now.busy)
		return;
	now.busy = false;
	keeper_error(rq, remedy, "%s", text);
}

void carry_drop_images(void)
{
	if (now.dir[0])
		ckpt_dir_remove(now.dir);
	now.dir[0] = '\0';
	now.rounds = 0;
	json_decref(now.app);
	now.app = NULL;
}

void carry_perf_open(void)
{
	if (now.perf_fd < 0)
		now.perf_fd = ckpt_perf_open();
}

void carry_perf_close(void)
{
	if (now.perf_fd >= 0)
		close(now.perf_fd);
	now.perf_fd = -1;
}

void carry_ahead(bool on)
{
	const struct sched_param param = {.sched_priority = on ? CKPT_AHEAD : 0};

	/* who may not is slower, no more */
	sched_setscheduler(0, on ? SCHED_RR : SCHED_OTHER, &param);
}

/* May this request begin? Takes it when so, answers when not. */
bool carry_begin(struct keeper_request rq, bool state_fits, const char *wanted)
{
	if (now.busy) {
		keeper_error(rq, "wait for its end", "another step of a move is under way");
		return false;
	}
	if (!state_fits) {
		keeper_error(rq, NULL, "this step wants %s; it is %s", wanted, run_state_name(run.state));
		return false;
	}
	now.rq = rq;
	now.busy = true;
	return true;
}

void carry_pipes(uint64_t pipes[3])
{
	ino_t ino[3];

	stdio_inodes(ino);
	for (int i = 0; i < 3; i++)
		pipes[i] = ino[i];
}

int carry_take_dir(json_t *args)
{
	const char *dir = json_string_value(json_object_get(args, "dir"));
	json_int_t rounds = json_integer_value(json_object_get(args, "rounds"));

	if (!dir || *dir != '/' || strlen(dir) >= sizeof(now.dir))
		return -EINVAL;
	if (rounds)
		return rounds == now.rounds && strcmp(dir, now.dir) == 0 ? 0 : -ESTALE;
	carry_drop_images();
	snprintf(now.dir, sizeof(now.dir), "%s", dir);
	return ckpt_dir_make(dir);
}

const char *carry_criu(json_t *args)
{
	const char *criu = json_string_value(json_object_get(args, "criu"));

	return criu && *criu ? criu : NULL;
}

/* ---- check -------------------------------------------------------------------------------------- */

json_t *carry_refusals(void)
{
	_free_ pid_t *pids = space_pids(&run.space);
	uint64_t pipes[3];

	carry_pipes(pipes);
	return ckpt_check(pids, pipes, run.opts.ipc_host);
}

void carry_check(struct keeper_request rq, json_t *args, int fd)
{
	_free_ pid_t *pids = space_pids(&run.space);
	char why[CKPT_ERROR_MAX] = "";

	(void)args;
	(void)fd;
	if (run.state != RUN_RUNNING)
		keeper_error(rq, NULL, "it does not run here; it is %s", run_state_name(run.state));
	else
		keeper_ok(rq,
			  json_pack("{so so sI sb si ss si}", "refusals", carry_refusals(), "files",
				    ckpt_files(pids, run.opts.data), "memory", (json_int_t)ckpt_memory(pids),
				    "tracks", ckpt_tracks(), "conns", ckpt_conns_try(pids, why), "conns_why",
				    why, "notices", (int)notice_count()));
}

/* ---- transfer -------------------------------------------------------------------------------------------- */

static struct jsonline *progress_to;

static void progress(void *arg, uint64_t bytes, uint64_t of)
{
	static uint64_t told;
	json_t *line;

	if (bytes < told + PROGRESS_BYTES)
		return;
	told = bytes;
	line = json_pack("{s{ss ss sI sI}}", "event", "kind", "progress", "what", (const char *)arg, "bytes",
			 (json_int_t)bytes, "of", (json_int_t)of);
	jsonline_send(progress_to, line, NULL, 0);
	json_decref(line);
}

int carry_report(struct jsonline *to, int err, uint64_t bytes, const char *error)
{
	json_t *line = err < 0 ? json_pack("{so}", "error", jsonline_string(error, CKPT_ERROR_MAX))
			       : json_pack("{sI}", "bytes", (json_int_t)bytes);

	jsonline_send(to, line, NULL, 0);
	json_decref(line);
	return err;
}

static int send_beside(struct jsonline *to, json_t *order, int fd)
{
	const char *dir = json_string_value(json_object_get(order, "dir"));
	char error[CKPT_ERROR_MAX] = "";

	progress_to = to;
	return carry_report(to, ckpt_send(fd, dir, NULL, progress, (void *)"send", error),
			    ckpt_dir_bytes(dir), error);
}

static int recv_beside(struct jsonline *to, json_t *order, int fd)
{
	const char *dir = json_string_value(json_object_get(order, "dir"));
	char error[CKPT_ERROR_MAX] = "";
	uint64_t bytes = 0;
	int err;

	progress_to = to;
	err = ckpt_recv(fd, dir, progress, (void *)"recv", &bytes, error);
	return carry_report(to, err, bytes, error);
}

static bool (*mover_done)(void);

static void mover_said(json_t *message)
{
	json_t *event = json_object_get(message, "event");
	const char *error = json_string_value(json_object_get(message, "error"));

	if (event) {
		keeper_event(json_incref(event));
		return;
	}
	/* Its end is of no interest any more: it would be taken for that of what is asked next. */
	worker_stop(&now.mover);
	if (!error && mover_done && mover_done())
		return;
	if (error)
		carry_answer_error(mover_done ? "" : "look at the network between the nodes, then try again",
				   error);
	else
		carry_answer_ok(json_pack("{sO}", "bytes", json_object_get(message, "bytes")));
}

static void mover_ended(void)
{
	carry_answer_error("try again", "the transfer was killed");
}

void carry_mover(int (*fn)(struct jsonline *to, json_t *order, int fd), json_t *order, int fd,
		 bool (*done)(void))
{
	int err;

	mover_done = done;
	now.mover.said = mover_said;
	now.mover.ended = mover_ended;
	err = worker_beside(&now.mover, fn, order, fd);
	if (err < 0)
		carry_answer_error("try again", strerror(-err));
}

void carry_send_dir(const char *dir, int fd, bool (*done)(void))
{
	carry_mover(send_beside, json_pack("{ss}", "dir", dir), fd, done);
}

static bool fd_came(int fd)
{
	if (fd < 0)
		carry_answer_error(NULL, "no stream came with the request");
	return fd >= 0;
}

/* ---- sending what `dump` had the stream for: all but the end goes before anybody asks ----------- */

static bool told(struct jsonline *from, const char *what)
{
	json_t *line = NULL;
	const char *word;
	bool is;

	if (jsonline_recv(from, &line) <= 0)
		return false;
	word = json_string_value(json_object_get(line, "do"));
	is = word && strcmp(word, what) == 0;
	json_decref(line);
	return is;
}

static bool may_end(void *arg)
{
	(void)arg;
	return told(progress_to, "end");
}

static int early_beside(struct jsonline *to, json_t *order, int fd)
{
	const char *dir = json_string_value(json_object_get(order, "dir"));
	char error[CKPT_ERROR_MAX] = "";
	int err;

	progress_to = to;
	if (!told(to, "go"))
		return -ECANCELED;
	err = ckpt_send(fd, dir, may_end, progress, (void *)"send", error);
	return carry_report(to, err, ckpt_dir_bytes(dir), error);
}

/* What fails before `send` asks is its answer. */
static void early_said(json_t *message)
{
	if (now.ends || json_object_get(message, "event")) {
		mover_said(message);
		return;
	}
	worker_stop(&now.mover);
	json_decref(now.early);
	now.early = json_incref(message);
}

static void early_ended(void)
{
	if (now.ends)
		mover_ended();
}

void carry_send_early(int fd)
{
	json_decref(now.early);
	now.early = NULL;
	now.ends = false;
	mover_done = NULL;
	now.mover.said = early_said;
	now.mover.ended = early_ended;
	if (worker_beside(&now.mover, early_beside, json_pack("{ss}", "dir", now.dir), fd) < 0)
		log_err("%s: nothing can be sent: %s", run.opts.name, strerror(errno));
}

void carry_send(struct keeper_request rq, json_t *args, int fd)
{
	(void)args;
	if (!carry_begin(rq, run.state == RUN_FROZEN, "a frozen application")) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (fd >= 0) {
		carry_send_dir(now.dir, fd, NULL);
		return;
	}
	now.ends = true;
	if (now.early)
		mover_said(now.early);
	else if (worker_tell(&now.mover, "end") < 0)
		carry_answer_error("try again", "no stream is there, or what was to send was killed");
}

static void round_taken(json_t *message)
{
	const char *error = json_string_value(json_object_get(message, "error"));

	worker_stop(&now.holder);
	if (error) {
		carry_answer_error("make room for its directories", error);
		return;
	}
	now.rounds++;
	carry_answer_ok(NULL);
}

static void round_lost(void)
{
	carry_answer_error("try again", "what unpacks its directories was killed");
}

/* The application's directories are put together beside their places as they come. */
static bool round_came(void)
{
	char path[PATH_MAX];
	int err;

	if (!run.opts.n_data) {
		now.rounds++;
		return false;
	}
	ckpt_round_path(path, sizeof(path), now.dir, now.rounds + 1);
	now.unpacks = true;
	now.home = run.state == RUN_MOVED;
	now.holder.said = round_taken;
	now.holder.ended = round_lost;
	err = app_prepare();
	if (err == 0)
		err = worker_inside(&now.holder, &run.space, carry_take_inside,
				    json_pack("{ss si}", "dir", path, "rounds", (int)now.rounds), NULL, 0, 0);
	if (err < 0)
		carry_answer_error("try again", strerror(-err));
	return true;
}

/* The place for what comes: one more round, or the images that make them complete. */
static int recv_place(json_t *args, char *path, size_t size, bool more)
{
	int err = carry_take_dir(args);

	ckpt_round_path(path, size, now.dir, more ? now.rounds + 1 : 0);
	if (err == 0 && more && mkdir(path, 0700) < 0)
		err = -errno;
	if (err == 0 && ckpt_round_memory(now.dir, now.rounds))
		err = ckpt_round_link(now.dir, more ? now.rounds + 1 : 0, now.rounds);
	return err;
}

void carry_recv(struct keeper_request rq, json_t *args, int fd)
{
	bool more = json_is_true(json_object_get(args, "more"));
	char path[PATH_MAX];
	int err;

	if (!carry_begin(rq, (run.state == RUN_WAITING || run.state == RUN_MOVED) && run.space.init >= 0,
			 "a waiting keeper")) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (!fd_came(fd))
		return;
	now.kept = false;
	now.apart = json_is_true(json_object_get(args, "conns"));
	err = recv_place(args, path, sizeof(path), more);
	if (err == 0 && carry_criu(args) && !more)
		err = carry_prestart(carry_criu(args));
	carry_ahead(!more);
	if (err < 0) {
		close(fd);
		carry_answer_error("give a directory on /run", strerror(-err));
		return;
	}
	carry_mover(recv_beside, json_pack("{ss}", "dir", path), fd, more ? round_came : NULL);
}

/* ---- the end of a move on this node ------------------------------------------------------------------------- */

/* The processes go first: a CRIU that outlived its worker would undo, and the kernel say goodbye to their peers. */
static void forget(void)
{
	carry_ahead(false);
	worker_stop(&now.mover);
	space_close(&run.space);
	worker_stop(&now.holder);
	carry_perf_close();
	carry_drop_images();
	notice_forget();
	run.pid = run.main_pid = 0;
}

void carry_discard(struct keeper_request rq, json_t *args, int fd)
{
	bool stays = !run.opts.keeper && !run.opts.detach;

	(void)args;
	(void)fd;
	now.busy = false;
	ckpt_queues_drop(true);
	if (run.state == RUN_FROZEN)
		stdio_leave();
	if (now.piped || now.unpacks)
		carry_restore_undone();
	forget();
	stdio_freeze(false);
	if (!stays || (run.state != RUN_FROZEN && run.state != RUN_MOVED)) {
		run.state = RUN_EXITED;
		keeper_ok(rq, NULL);
		if (!run.user_away && !run.opts.detach)
			run_say("%s ended by order of netd", run.opts.name);
		run_end(stays ? RUN_EXIT : 0);
		return;
	}
	run.state = RUN_MOVED;
	keeper_ok(rq, NULL);
}

void carry_moved(struct keeper_request rq, json_t *args, int fd)
{
	const char *node = json_string_value(json_object_get(args, "node"));

	if (run.state != RUN_MOVED || fd < 0) {
		if (fd >= 0)
			close(fd);
		keeper_error(rq, NULL, "not a supervisor whose application is elsewhere");
		return;
	}
	snprintf(run.place, sizeof(run.place), "%s", node ? node : "");
	stdio_stream_app(fd);
	keeper_ok(rq, NULL);
}

void carry_stdio(struct keeper_request rq, json_t *args, int fd)
{
	(void)args;
	if (!run.user_away) {
		if (fd >= 0)
			close(fd);
		keeper_error(rq, NULL, "its user is on this node, or it is detached");
		return;
	}
	if (fd >= 0)
		stdio_stream_user(fd);
	else if (logfile_open(run.opts.name, 1) == 0)
		stdio_user_log();
	keeper_ok(rq, NULL);
}

void carry_ended(void)
{
	worker_stop(&now.mover);
	worker_stop(&now.holder);
	carry_perf_close();
	carry_drop_images();
	carry_rounds_ended();
	now.busy = now.ready = now.go = false;
}
