// SPDX-License-Identifier: GPL-2.0
/*
 * Rounds on the source: memory is written and sent while the application runs. CRIU must come to its end before
 * anything else: for a moment its code runs inside of the processes.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"
#include "userland/run/carry_int.h"

#define NEXT_MS 60000 /* then nobody will come for the images */

static struct {
	bool writes; /* CRIU works */
	bool ends;   /* and `end` is answered when it is done */
	struct keeper_request end;
	int stream;
} round_now = {.stream = -1};

static void finish(void)
{
	round_now.writes = false;
	if (round_now.stream >= 0)
		close(round_now.stream);
	round_now.stream = -1;
}

static void drop(void)
{
	carry_drop_images();
	carry_perf_close();
}

static void nobody_came(struct timer *t)
{
	(void)t;
	if (!now.busy && now.rounds && run.state == RUN_RUNNING && !now.holder.busy)
		drop();
}

static void failed(const char *remedy, const char *text)
{
	finish();
	drop();
	carry_answer_error(remedy, text);
	if (round_now.ends)
		keeper_ok(round_now.end, NULL);
	round_now.ends = false;
}

static bool sent(void)
{
	static struct timer timer = {.fn = nobody_came};

	now.rounds++;
	ckpt_round_blank(now.dir, now.rounds);
	loop_timer(&timer, NEXT_MS);
	return false;
}

static void written(void)
{
	char path[PATH_MAX];
	int stream = round_now.stream;

	round_now.stream = -1;
	finish();
	ckpt_round_path(path, sizeof(path), now.dir, now.rounds + 1);
	carry_send_dir(path, stream, sent);
}

static void round_said(json_t *message)
{
	const char *error = json_string_value(json_object_get(message, "error"));

	worker_stop(&now.holder);
	if (round_now.ends)
		failed("", "the move was given up");
	else if (error)
		failed("it runs on; free memory: the images lie in /run", error);
	else
		written();
}

static void round_ended(void)
{
	if (round_now.writes)
		failed("try again", "CRIU ended without a word");
}

static int start(json_t *args)
{
	_free_ pid_t *pids = space_pids(&run.space);
	bool memory = json_is_true(json_object_get(args, "memory"));
	char path[PATH_MAX], parent[16];
	json_t *order;
	int err = carry_take_dir(args);

	ckpt_round_path(path, sizeof(path), now.dir, now.rounds + 1);
	if (err == 0 && mkdir(path, 0700) < 0)
		err = -errno;
	if (err < 0)
		return err;
	if (memory) {
		log_debug("%s: %u huge pages split", run.opts.name, ckpt_split_huge(pids));
		carry_perf_open();
	}
	order = json_pack("{ss ss ss si sb}", "criu", carry_criu(args) ?: "criu", "dir", path, "base",
			  now.dir, "rounds", (int)now.rounds, "memory", memory);
	if (memory && now.rounds) {
		ckpt_round_parent(parent, sizeof(parent), now.rounds, true);
		json_object_set_new(order, "parent", json_string(parent));
	}
	now.holder.said = round_said;
	now.holder.ended = round_ended;
	round_now.writes = true;
	return worker_inside(&now.holder, &run.space, carry_round_inside, order, NULL, 0, 0);
}

void carry_round(struct keeper_request rq, json_t *args, int fd)
{
	int err;

	if (!carry_begin(rq, run.state == RUN_RUNNING, "a running application")) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (fd < 0) {
		carry_answer_error(NULL, "no stream came with the request");
		return;
	}
	carry_unready();
	round_now.stream = fd;
	err = start(args);
	if (err < 0)
		failed("give a directory on /run", strerror(-err));
}

void carry_rounds_end(struct keeper_request rq)
{
	if (round_now.writes) {
		round_now.end = rq;
		round_now.ends = true;
		return;
	}
	if (now.mover.busy || (now.dir[0] && !now.holder.busy)) {
		worker_stop(&now.mover);
		failed("", "the move was given up");
	}
	keeper_ok(rq, NULL);
}

void carry_rounds_ended(void)
{
	finish();
	round_now.ends = false;
}
