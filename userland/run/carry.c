// SPDX-License-Identifier: GPL-2.0
/*
 * The requests of a move. One at a time: `now` is what is under way. CRIU and
 * the transfers run in workers; the freeze and the restored, still stopped
 * processes are held by a worker that waits for word from here.
 */
#include "userland/run/carry.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/jsonline.h"
#include "userland/lib/log.h"
#include "userland/run/logfile.h"
#include "userland/run/run.h"
#include "userland/run/stdio.h"
#include "userland/run/worker.h"

#define APP_FILE	"app.json" /* what CRIU does not know: beside its images */
#define LOG_FILE	"output"   /* the end of a detached application's log */
#define LOG_CARRIED	(64 << 10)
#define BACKLOG_TRIES	40
#define BACKLOG_STEP_US 5000
#define PROGRESS_BYTES	(8 << 20)
#define CLOCK_SLACK_MS	100 /* of two nodes' clocks */
#define FROZEN_MAX_MS	600000

static struct {
	struct worker holder; /* CRIU: frozen, or restored and stopped */
	struct worker mover;  /* sends or receives */
	struct keeper_request rq;
	bool busy; /* rq waits for its answer */
	char dir[PATH_MAX];
	json_t *app; /* APP_FILE of the images that came */
	int perf_fd; /* open around a dump */
	int64_t frozen_at_ms;
	bool swapped; /* its directories are in place here, not for good yet */
	bool home;    /* the application comes back to the node of its user */
} now = {.perf_fd = -1};

/* ---- helpers -------------------------------------------------------------------------------- */

static void answer_ok(json_t *fields)
{
	struct keeper_request rq = now.rq;

	if (!now.busy) {
		json_decref(fields);
		return;
	}
	now.busy = false;
	keeper_ok(rq, fields);
}

static void answer_error(const char *remedy, const char *text)
{
	struct keeper_request rq = now.rq;

	if (!now.busy)
		return;
	now.busy = false;
	keeper_error(rq, remedy, "%s", text);
}

static void drop_images(void)
{
	if (now.dir[0])
		ckpt_dir_remove(now.dir);
	now.dir[0] = '\0';
	json_decref(now.app);
	now.app = NULL;
}

static void perf_close(void)
{
	if (now.perf_fd >= 0)
		close(now.perf_fd);
	now.perf_fd = -1;
}

/* May this request begin? Takes it when so, answers when not. */
static bool begin(struct keeper_request rq, bool state_fits, const char *wanted)
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

static void pipes_of(uint64_t pipes[3])
{
	ino_t ino[3];

	stdio_inodes(ino);
	for (int i = 0; i < 3; i++)
		pipes[i] = ino[i];
}

static int set_dir(json_t *args)
{
	const char *dir = json_string_value(json_object_get(args, "dir"));

	if (!dir || *dir != '/' || strlen(dir) >= sizeof(now.dir))
		return -EINVAL;
	snprintf(now.dir, sizeof(now.dir), "%s", dir);
	return 0;
}

static const char *criu_of(json_t *args)
{
	const char *criu = json_string_value(json_object_get(args, "criu"));

	return criu && *criu ? criu : "criu";
}

/* ---- check -------------------------------------------------------------------------------------- */

static json_t *refusals(void)
{
	_free_ pid_t *pids = space_pids(&run.space);
	uint64_t pipes[3];

	pipes_of(pipes);
	return ckpt_check(pids, pipes, run.opts.ipc_host);
}

void carry_check(struct keeper_request rq, json_t *args, int fd)
{
	(void)args;
	(void)fd;
	if (run.state != RUN_RUNNING)
		keeper_error(rq, NULL, "it does not run here; it is %s", run_state_name(run.state));
	else
		keeper_ok(rq, json_pack("{so}", "refusals", refusals()));
}

/* ---- holding: the worker inside waits, and what we say decides -------------------------------- */

static struct jsonline inside = {.fd = -1};

static void say_error(const char *text)
{
	json_t *line = json_pack("{so}", "error", jsonline_string(text, CKPT_ERROR_MAX));

	jsonline_send(&inside, line, NULL, 0);
	json_decref(line);
}

/* In the worker. 0: "go on", else undo. */
static int hold_inside(void *arg)
{
	struct ckpt_job *j = arg;
	json_t *line = json_pack("{sI}", "held", (json_int_t)j->frozen_at_ms);
	const char *what;
	int err = jsonline_send(&inside, line, NULL, 0), undo = 1;

	json_decref(line);
	/* Without word nothing may run: the end of the supervisor is the end of all in here. */
	if (err < 0 || jsonline_recv(&inside, &line) <= 0)
		for (;;)
			pause();
	what = json_string_value(json_object_get(line, "do"));
	if (what && strcmp(what, "go") == 0)
		undo = 0;
	json_decref(line);
	return undo;
}

/* The worker must not be the one that runs out of memory first: what it holds would run. */
static void protect_worker(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		dprintf(fd, "-1000");
		close(fd);
	}
}

/* In the worker: all is frozen, its directories are packed, then we wait for word. */
static int hold_dump(void *arg)
{
	struct ckpt_job *j = arg;

	return ckpt_data_pack(j->dir, run.opts.data, j->error) < 0 ? 1 : hold_inside(j);
}

/* In the worker: unpacks its directories, and waits until they are in place. */
static int unpack_data(struct ckpt_job *j)
{
	json_t *line;
	int r;

	if (!run.opts.n_data)
		return 0;
	r = ckpt_data_unpack(j->dir, run.opts.data, j->error);
	if (r < 0)
		return r;
	line = json_pack("{sb}", "unpacked", 1);
	r = jsonline_send(&inside, line, NULL, 0);
	json_decref(line);
	if (r == 0 && jsonline_recv(&inside, &line) <= 0)
		r = -ECANCELED;
	if (r == 0)
		json_decref(line);
	return r;
}

static void inside_report(const struct ckpt_job *j, int err)
{
	json_t *line;

	if (err && j->error[0]) {
		say_error(j->error);
		return;
	}
	line = json_pack("{sb}", "done", err == 0);
	jsonline_send(&inside, line, NULL, 0);
	json_decref(line);
}

static int inside_main(const char *blob, const int *fds, int n, bool restore)
{
	json_t *order = json_loads(blob, 0, NULL);
	json_t *pipes = json_object_get(order, "pipes");
	struct ckpt_job j = {.criu = json_string_value(json_object_get(order, "criu")),
			     .dir = json_string_value(json_object_get(order, "dir")),
			     .root = ROOT_PID,
			     .hold = restore ? hold_inside : hold_dump,
			     .arg = &j};
	int err;

	jsonline_init(&inside, fds[0]);
	for (int i = 0; restore && i < 3 && i + 1 < n; i++)
		j.pipes[i] = (struct ckpt_pipe){
			(uint64_t)json_integer_value(json_array_get(pipes, (size_t)i)), fds[i + 1]};
	setsid();
	protect_worker();
	if (restore)
		err = unpack_data(&j) ?: ckpt_restore(&j);
	else
		err = ckpt_dump(&j);
	inside_report(&j, err);
	return 0;
}

static int dump_inside(const char *blob, const int *fds, int n)
{
	return inside_main(blob, fds, n, false);
}

static int restore_inside(const char *blob, const int *fds, int n)
{
	return inside_main(blob, fds, n, true);
}

/* ---- dump --------------------------------------------------------------------------------------------- */

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

	pipes_of(ino);
	ckpt_pipe_users(pids, ino, n);
	for (int i = 0; i < 3; i++) {
		json_array_append_new(pipes, json_integer((json_int_t)ino[i]));
		json_array_append_new(users, json_integer(n[i]));
	}
	return json_pack("{so so so sI}", "pipes", pipes, "users", users, "stdio", stdio, "frozen_at_ms",
			 (json_int_t)now.frozen_at_ms);
}

static int write_log(void)
{
	char path[PATH_MAX + 16];
	size_t len;
	_free_ char *tail = logfile_tail(LOG_CARRIED, &len);
	_close_ int fd = -1;

	if (!run.opts.detach)
		return 0;
	snprintf(path, sizeof(path), "%s/" LOG_FILE, now.dir);
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
	snprintf(path, sizeof(path), "%s/" APP_FILE, now.dir);
	err = json_dump_file(app, path, JSON_COMPACT) < 0 ? -EIO : 0;
	json_decref(app);
	return err ?: write_log();
}

static void thawed(void)
{
	stop_all(SIGCONT);
	drop_images();
	perf_close();
	stdio_freeze(false);
	run.state = RUN_RUNNING;
}

static void dump_held(json_t *message)
{
	_free_ pid_t *pids = space_pids(&run.space);

	now.frozen_at_ms = json_integer_value(json_object_get(message, "held"));
	stop_all(SIGSTOP);
	run.state = RUN_FROZEN;
	if (write_app() == 0) {
		answer_ok(json_pack("{sI sI si}", "frozen_at_ms", (json_int_t)now.frozen_at_ms, "bytes",
				    (json_int_t)ckpt_dir_bytes(now.dir), "sockets", ckpt_connections(pids)));
		return;
	}
	stop_all(SIGCONT);
	worker_tell(&now.holder, "undo"); /* its answer brings us back to running */
	answer_error("free memory: the images lie in /run", "cannot write what belongs to the images");
}

static void dump_said(json_t *message)
{
	const char *error = json_string_value(json_object_get(message, "error"));

	if (json_object_get(message, "held")) {
		dump_held(message);
	} else if (error) {
		thawed();
		answer_error("it runs on; `netctl migrate --dry-run` names what cannot be moved", error);
	} else if (json_object_get(message, "done") && run.state == RUN_FROZEN) {
		thawed();
		answer_ok(NULL);
	}
}

/* The worker is gone. It said why, or was killed: then all it held is stopped now. */
static void dump_ended(void)
{
	if (run.state == RUN_RUNNING && now.busy) {
		thawed();
		answer_error("try again", "CRIU ended without a word");
	} else if (run.state == RUN_FROZEN) {
		log_err("%s: CRIU was killed while it held the application; it stays stopped", run.opts.name);
	}
}

/* A connection that waits for accept() cannot be moved; give the program the time to take it. */
static void drain_backlog(void)
{
	_free_ pid_t *pids = space_pids(&run.space);

	for (int i = 0; i < BACKLOG_TRIES && ckpt_backlog(pids) > 0; i++)
		usleep(BACKLOG_STEP_US);
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
	answer_error(json_string_value(json_object_get(first, "remedy")), text);
}

void carry_dump(struct keeper_request rq, json_t *args, int fd)
{
	json_t *list;
	int err;

	(void)fd;
	if (!begin(rq, run.state == RUN_RUNNING, "a running application"))
		return;
	list = refusals();
	if (json_array_size(list) > 0) {
		refuse_dump(list);
		json_decref(list);
		return;
	}
	json_decref(list);
	err = set_dir(args) ?: ckpt_dir_make(now.dir);
	if (err == 0) {
		now.perf_fd = ckpt_perf_open();
		stdio_freeze(true);
		drain_backlog();
		now.holder.said = dump_said;
		now.holder.ended = dump_ended;
		err = worker_inside(&now.holder, &run.space, dump_inside,
				    json_pack("{ss ss}", "criu", criu_of(args), "dir", now.dir), NULL, 0);
	}
	if (err < 0) {
		thawed();
		answer_error("give a directory on /run", strerror(-err));
	}
}

void carry_thaw(struct keeper_request rq, json_t *args, int fd)
{
	_free_ pid_t *pids = NULL;
	bool held;

	(void)args;
	(void)fd;
	if (run.state == RUN_RUNNING) {
		keeper_ok(rq, NULL); /* a dump that failed ran on by itself */
		return;
	}
	worker_stop(&now.mover);
	now.busy = false;
	if (!begin(rq, run.state == RUN_FROZEN, "a frozen application"))
		return;
	pids = space_pids(&run.space);
	held = ckpt_traced(pids);
	if (held)
		stop_all(SIGCONT); /* takes the pending stop away, while they are still held */
	if (held && worker_tell(&now.holder, "undo") == 0)
		return;
	worker_stop(&now.holder);
	ckpt_repair_off(pids);
	thawed();
	answer_ok(NULL);
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

static int report_transfer(struct jsonline *to, int err, uint64_t bytes, const char *error)
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
	return report_transfer(to, ckpt_send(fd, dir, progress, (void *)"send", error), ckpt_dir_bytes(dir),
			       error);
}

static int recv_beside(struct jsonline *to, json_t *order, int fd)
{
	const char *dir = json_string_value(json_object_get(order, "dir"));
	char error[CKPT_ERROR_MAX] = "";
	uint64_t bytes = 0;
	int err;

	progress_to = to;
	err = ckpt_recv(fd, dir, progress, (void *)"recv", &bytes, error);
	return report_transfer(to, err, bytes, error);
}

static void mover_said(json_t *message)
{
	json_t *event = json_object_get(message, "event");
	const char *error = json_string_value(json_object_get(message, "error"));

	if (event)
		keeper_event(json_incref(event));
	else if (error)
		answer_error("look at the network between the nodes, then try again", error);
	else
		answer_ok(json_pack("{sO}", "bytes", json_object_get(message, "bytes")));
}

static void mover_ended(void)
{
	answer_error("try again", "the transfer was killed");
}

static void start_mover(int (*fn)(struct jsonline *to, json_t *order, int fd), int fd)
{
	int err;

	now.mover.said = mover_said;
	now.mover.ended = mover_ended;
	err = worker_beside(&now.mover, fn, json_pack("{ss}", "dir", now.dir), fd);
	if (err < 0)
		answer_error("try again", strerror(-err));
}

static bool fd_came(int fd)
{
	if (fd < 0)
		answer_error(NULL, "no stream came with the request");
	return fd >= 0;
}

void carry_send(struct keeper_request rq, json_t *args, int fd)
{
	(void)args;
	if (!begin(rq, run.state == RUN_FROZEN, "a frozen application")) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (fd_came(fd))
		start_mover(send_beside, fd);
}

void carry_recv(struct keeper_request rq, json_t *args, int fd)
{
	int err;

	if (!begin(rq, (run.state == RUN_WAITING || run.state == RUN_MOVED) && run.space.init >= 0,
		   "a waiting keeper")) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (!fd_came(fd))
		return;
	err = set_dir(args) ?: ckpt_dir_make(now.dir);
	if (err < 0) {
		close(fd);
		answer_error("give a directory on /run", strerror(-err));
		return;
	}
	start_mover(recv_beside, fd);
}

/* ---- restore ------------------------------------------------------------------------------------------------ */

static int load_app(void)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/" APP_FILE, now.dir);
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

	pipes_of(ino);
	ckpt_pipe_users(pids, ino, users);
	for (size_t i = 0; i < 3; i++)
		if (users[i] != json_integer_value(json_array_get(wanted, i)))
			return false;
	return true;
}

static void restore_undone(void);

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
	restore_undone();
	answer_error("it goes on where it was", error);
}

static void restore_undone(void)
{
	run.state = now.home ? RUN_MOVED : RUN_WAITING;
	if (now.home)
		stdio_leave();
	stdio_freeze(false);
	space_close(&run.space);
	data_undone();
	run.pid = run.main_pid = 0;
}

static void restore_held(void)
{
	if (!pipes_are_ours()) {
		worker_tell(&now.holder, "undo");
		restore_undone();
		answer_error("use the same CRIU on both nodes",
			     "CRIU did not connect the application's stdio");
		return;
	}
	app_find_pids();
	run.state = RUN_RESTORED;
	answer_ok(json_pack("{si si ss sI}", "pid", run.pid, "main", run.main_pid, "cgroup", run.space.cgroup,
			    "cgroup_id", (json_int_t)run.space.cgroup_id));
}

/* As if the connections had lived on here since the freeze. */
static void catch_up(void)
{
	_free_ pid_t *pids = space_pids(&run.space);
	int64_t frozen_at = json_integer_value(json_object_get(now.app, "frozen_at_ms"));
	struct timespec ts;
	int64_t ms;

	clock_gettime(CLOCK_REALTIME, &ts);
	ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 - frozen_at;
	if (ms < 0 || ms > FROZEN_MAX_MS)
		ms = 0;
	ckpt_advance_clock(pids, (uint32_t)ms + CLOCK_SLACK_MS);
}

static void resumed(void)
{
	run.state = RUN_RUNNING;
	now.home = false;
	run.place[0] = '\0';
	drop_images();
	data_done();
	answer_ok(json_pack("{si si}", "pid", run.pid, "main", run.main_pid));
}

static void restore_said(json_t *message)
{
	const char *error = json_string_value(json_object_get(message, "error"));

	if (json_object_get(message, "unpacked")) {
		restore_unpacked();
	} else if (json_object_get(message, "held")) {
		restore_held();
	} else if (json_object_get(message, "done")) {
		resumed();
	} else if (error && run.state == RUN_RESTORED) { /* after resume: it is lost */
		answer_error("see the log of CRIU in the message", error);
		app_ended(SIGKILL);
	} else if (error) {
		restore_undone();
		answer_error(
			"it goes on where it was; files must have the same path and content on both nodes",
			error);
	}
}

static void restore_ended(void)
{
	if (run.state == RUN_RESTORED) {
		answer_error("try again", "CRIU was killed");
		app_ended(SIGKILL);
	} else if (now.busy) {
		restore_undone();
		answer_error("try again", "CRIU ended without a word");
	}
}

static int start_restore(const char *criu)
{
	int child[3] = {-1, -1, -1}, err;

	stdio_freeze(true);
	err = load_app() ?: app_prepare();
	if (err == 0)
		err = stdio_pipes(run.opts.uid, run.opts.gid, child);
	if (err == 0)
		err = worker_inside(&now.holder, &run.space, restore_inside,
				    json_pack("{ss ss sO}", "criu", criu, "dir", now.dir, "pipes",
					      json_object_get(now.app, "pipes")),
				    child, 3);
	for (int i = 0; i < 3; i++)
		if (child[i] >= 0)
			close(child[i]);
	return err;
}

void carry_restore(struct keeper_request rq, json_t *args, int fd)
{
	int err;

	(void)fd;
	if (!begin(rq, run.state == RUN_WAITING || run.state == RUN_MOVED, "images that came"))
		return;
	now.home = run.state == RUN_MOVED;
	now.holder.said = restore_said;
	now.holder.ended = restore_ended;
	err = set_dir(args) ?: start_restore(criu_of(args));
	if (err < 0) {
		restore_undone();
		answer_error("send the images again", strerror(-err));
	}
}

static void import_log(void)
{
	char path[PATH_MAX + 16];
	char *buf = run.opts.detach ? malloc(LOG_CARRIED) : NULL;
	_close_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/" LOG_FILE, now.dir);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (buf && fd >= 0 && (n = read(fd, buf, LOG_CARRIED)) > 0)
		logfile_write(buf, (size_t)n);
	free(buf);
}

void carry_resume(struct keeper_request rq, json_t *args, int fd)
{
	int err;

	(void)args;
	(void)fd;
	if (run.state == RUN_RUNNING) {
		keeper_ok(rq, NULL);
		return;
	}
	if (!begin(rq, run.state == RUN_RESTORED, "a restored application"))
		return;
	import_log();
	err = stdio_import(now.dir, json_object_get(now.app, "stdio"));
	if (err < 0) /* it must run all the same: this node owns it now */
		log_err("%s: some of its stdio was lost on the way: %s", run.opts.name, strerror(-err));
	stdio_freeze(false);
	catch_up();
	err = worker_tell(&now.holder, "go");
	if (err < 0) {
		answer_error("try again", strerror(-err));
		app_ended(SIGKILL);
	}
}

/* ---- the end of a move on this node ------------------------------------------------------------------------- */

/* The processes go first: a CRIU that outlived its worker would undo, and the kernel say goodbye to their peers. */
static void forget(void)
{
	worker_stop(&now.mover);
	space_close(&run.space);
	worker_stop(&now.holder);
	data_undone();
	perf_close();
	drop_images();
	run.pid = run.main_pid = 0;
}

void carry_discard(struct keeper_request rq, json_t *args, int fd)
{
	bool stays = !run.opts.keeper && !run.opts.detach;

	(void)args;
	(void)fd;
	now.busy = false;
	if (run.state == RUN_FROZEN)
		stdio_leave();
	if (run.state == RUN_RESTORED && now.home)
		restore_undone();
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
	perf_close();
	drop_images();
	now.busy = false;
}
