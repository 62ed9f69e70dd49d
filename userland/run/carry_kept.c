// SPDX-License-Identifier: GPL-2.0
/* Checkpoints: images that stay in a directory, and come from one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "userland/lib/jsonline.h"
#include "userland/run/carry_int.h"

static const char *text_of(json_t *o, const char *field)
{
	return json_string_value(json_object_get(o, field)) ?: "";
}

void carry_place(struct keeper_request rq, json_t *args, int fd)
{
	char error[CKPT_ERROR_MAX] = "";
	unsigned int number = 0;

	(void)fd;
	if (run.state != RUN_RUNNING)
		keeper_error(rq, NULL, "it does not run here; it is %s", run_state_name(run.state));
	else if (ckpt_place(text_of(args, "dir"), &number, error) < 0)
		keeper_error(rq,
			     "name a directory that is empty, or has checkpoints only, and is root's alone",
			     "%s", error);
	else
		keeper_ok(rq, json_pack("{si}", "number", (int)number));
}

static int seal_beside(struct jsonline *to, json_t *order, int fd)
{
	char error[CKPT_ERROR_MAX] = "";
	uint64_t bytes = 0;
	int err = ckpt_seal(text_of(order, "dir"), text_of(order, "to"), json_object_get(order, "about"),
			    &bytes, error);

	(void)fd;
	return carry_report(to, err, bytes, error);
}

/* What is sealed stays. */
static bool sealed(void)
{
	now.dir[0] = '\0';
	return false;
}

void carry_seal(struct keeper_request rq, json_t *args, int fd)
{
	(void)fd;
	if (!carry_begin(rq, run.state == RUN_FROZEN && now.dir[0], "a frozen application"))
		return;
	if (*text_of(args, "to") != '/' || !json_is_object(json_object_get(args, "about"))) {
		carry_answer_error(NULL, "malformed request");
		return;
	}
	carry_mover(seal_beside,
		    json_pack("{ss sO sO}", "dir", now.dir, "to", json_object_get(args, "to"), "about",
			      json_object_get(args, "about")),
		    open("/dev/null", O_RDONLY | O_CLOEXEC), sealed);
}

static int load_beside(struct jsonline *to, json_t *order, int fd)
{
	char error[CKPT_ERROR_MAX] = "";
	uint64_t bytes = 0;
	int err = ckpt_load(text_of(order, "from"), text_of(order, "dir"), &bytes, error);

	(void)fd;
	return carry_report(to, err, bytes, error);
}

static bool loaded(void)
{
	now.kept = true;
	now.apart = false;
	return false;
}

void carry_load(struct keeper_request rq, json_t *args, int fd)
{
	int err;

	(void)fd;
	if (!carry_begin(rq, run.state == RUN_WAITING && run.space.init >= 0, "a waiting keeper"))
		return;
	err = carry_take_dir(args);
	if (err < 0) {
		carry_answer_error("give a directory on /run", strerror(-err));
		return;
	}
	carry_mover(load_beside, json_pack("{ss ss}", "dir", now.dir, "from", text_of(args, "from")),
		    open("/dev/null", O_RDONLY | O_CLOEXEC), loaded);
}
