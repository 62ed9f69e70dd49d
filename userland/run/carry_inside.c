// SPDX-License-Identifier: GPL-2.0
/*
 * The worker in the application's pid and mount namespace: drives CRIU and waits
 * for the supervisor's word at each point from which there is a way back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "userland/lib/jsonline.h"
#include "userland/run/carry_int.h"

static struct jsonline inside = {.fd = -1};
static unsigned int rounds; /* there were before */

static int say(const char *what, json_t *value)
{
	json_t *line = json_pack("{so}", what, value);
	int err = jsonline_send(&inside, line, NULL, 0);

	json_decref(line);
	return err;
}

/* Nothing is touched yet. The word to begin, or NULL: not to. */
static json_t *ready(void)
{
	json_t *line = NULL;

	if (say("ready", json_true()) < 0 || jsonline_recv(&inside, &line) <= 0)
		return NULL;
	return line;
}

/* 0: "go on", else undo. */
static int hold_inside(void *arg)
{
	struct ckpt_job *j = arg;
	int err = say("held", json_integer(j->frozen_at_ms)), undo = 1;
	const char *what;
	json_t *line;

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

/* All is frozen, its directories are packed, then we wait for word. */
static int hold_dump(void *arg)
{
	struct ckpt_job *j = arg;
	int err = rounds ? ckpt_data_round(j->dir, j->dir, run.opts.data, false, true, j->error)
			 : ckpt_data_pack(j->dir, run.opts.data, j->error);

	return err < 0 ? 1 : hold_inside(j);
}

/* Unpacks its directories, and waits until they are in place. */
static int unpack_data(struct ckpt_job *j)
{
	json_t *line = NULL;

	if (!run.opts.n_data)
		return 0;
	if ((rounds ? ckpt_data_take(j->dir, run.opts.data, false, j->error)
		    : ckpt_data_unpack(j->dir, run.opts.data, j->error)) < 0 ||
	    say("unpacked", json_true()) < 0 || jsonline_recv(&inside, &line) <= 0)
		return -ECANCELED;
	json_decref(line);
	return 0;
}

/* CRIU is started. The word to begin has the inodes of the images' stdio. */
static int ready_restore(void *arg)
{
	struct ckpt_job *j = arg;
	json_t *line = ready(), *pipes = json_object_get(line, "pipes");

	for (size_t i = 0; i < 3; i++)
		j->pipes[i].inode = (uint64_t)json_integer_value(json_array_get(pipes, i));
	json_decref(line);
	return line ? unpack_data(j) : -ECANCELED;
}

static int ready_dump(void *arg)
{
	json_t *line = ready();

	(void)arg;
	json_decref(line);
	return line ? 0 : -ECANCELED;
}

static void running_inside(void *arg)
{
	(void)arg;
	say("running", json_true());
}

static void say_end(const struct ckpt_job *j, int err)
{
	if (err && j->error[0]) /* who was told that it runs does not listen any more */
		say("error", jsonline_string(j->error, CKPT_ERROR_MAX));
	else
		say("done", json_boolean(err == 0));
}

static int inside_main(const char *blob, const int *fds, int n, bool restore)
{
	json_t *order = json_loads(blob, 0, NULL);
	struct ckpt_job j = {.criu = json_string_value(json_object_get(order, "criu")),
			     .dir = json_string_value(json_object_get(order, "dir")),
			     .parent = json_string_value(json_object_get(order, "parent")),
			     .root = ROOT_PID,
			     .ahead = true,
			     .close = json_is_true(json_object_get(order, "close")),
			     .apart = json_is_true(json_object_get(order, "apart")),
			     .ready = restore ? ready_restore : ready_dump,
			     .hold = restore ? hold_inside : hold_dump,
			     .running = running_inside,
			     .arg = &j};
	int err;

	rounds = (unsigned int)json_integer_value(json_object_get(order, "rounds"));
	jsonline_init(&inside, fds[0]);
	for (int i = 0; restore && i < 3 && i + 1 < n; i++)
		j.pipes[i].fd = fds[i + 1];
	setsid();
	protect_worker();
	err = restore ? ckpt_restore(&j) : ckpt_dump(&j);
	say_end(&j, err);
	return 0;
}

int carry_round_inside(const char *blob, const int *fds, int n)
{
	json_t *order = json_loads(blob, 0, NULL);
	struct ckpt_job j = {.criu = json_string_value(json_object_get(order, "criu")),
			     .dir = json_string_value(json_object_get(order, "dir")),
			     .parent = json_string_value(json_object_get(order, "parent")),
			     .root = ROOT_PID};

	const char *base = json_string_value(json_object_get(order, "base"));
	bool memory = json_is_true(json_object_get(order, "memory"));
	int err;

	(void)n;
	rounds = (unsigned int)json_integer_value(json_object_get(order, "rounds"));
	jsonline_init(&inside, fds[0]);
	setsid();
	protect_worker();
	err = memory ? ckpt_predump(&j) : 0;
	if (err == 0)
		err = ckpt_data_round(j.dir, base, run.opts.data, rounds == 0, false, j.error);
	say_end(&j, err);
	return 0;
}

int carry_take_inside(const char *blob, const int *fds, int n)
{
	json_t *order = json_loads(blob, 0, NULL);
	struct ckpt_job j = {.dir = json_string_value(json_object_get(order, "dir"))};

	(void)n;
	rounds = (unsigned int)json_integer_value(json_object_get(order, "rounds"));
	jsonline_init(&inside, fds[0]);
	setsid();
	say_end(&j, ckpt_data_take(j.dir, run.opts.data, rounds == 0, j.error));
	return 0;
}

int carry_dump_inside(const char *blob, const int *fds, int n)
{
	return inside_main(blob, fds, n, false);
}

int carry_restore_inside(const char *blob, const int *fds, int n)
{
	return inside_main(blob, fds, n, true);
}
