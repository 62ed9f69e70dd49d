// SPDX-License-Identifier: GPL-2.0
/* A move until its pause, on the source: what stands against it, its record, and all that can be done while it runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "datapath.h"
#include "member.h"
#include "move_check.h"
#include "move_enough.h"
#include "move_rounds.h"
#include "move_source.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

/* ---- while it runs: all that need not be done in the pause -------------------------------- */

static void source_stream(void *arg, int status, int fd)
{
	struct move_source *s = arg;
	_close_ int stream = fd;

	if (s->ended || s->aborting || status < 0) {
		move_source_fail(s, "no stream to the target: %s", move_why(status, NULL));
	} else {
		s->stream = take_fd(stream);
		move_source_hold(s);
	}
	move_source_unref(s);
}

static void source_is_ready(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_source *s = arg;
	json_t *hello;

	(void)ok;
	if (s->ended || s->aborting || status < 0 || error) {
		move_source_fail(s, "it cannot be frozen: %s", move_why(status, error));
		move_source_unref(s);
		return;
	}
	hello = json_pack("{ss sI sb}", "app", s->app, "id", (json_int_t)s->id, "conns", s->conns.apart);
	peer_stream_open(s->netd->peers, s->dst, "move-image", hello, source_stream, s);
	json_decref(hello);
}

/* CRIU waits at the point before the freeze, and the stream is there. */
static void source_ready(struct move_source *s)
{
	json_t *request = move_image_request("ready", s->app);

	json_object_set_new(request, "conns", json_boolean(s->conns.apart));
	json_object_set_new(request, "queues", json_boolean(s->queues));
	s->frozen = true;
	json_object_set_new(request, "rounds", json_integer(s->sent.rounds));
	json_object_set_new(request, "criu", json_string(s->netd->conf.criu));
	move_source_ask(s, request, -1, MOVE_BULK_MS, source_is_ready);
}

/* An answer that is missing stops no move. */
static void source_noticed(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_source *s = arg;

	if (status < 0 || error)
		log_warn("move of %s: it could not be told: %s", s->app, move_why(status, error));
	s->notice_ms = json_integer_value(json_object_get(ok, "ms"));
	if (s->ended || s->aborting)
		move_source_fail(s, "the move was given up");
	else
		source_ready(s);
	move_source_unref(s);
}

/* Last before what it takes part in: what it does to get ready still goes the usual way. */
static void source_notice(struct move_source *s)
{
	unsigned int ms;
	json_t *request;

	if (!s->notices) {
		source_ready(s);
		return;
	}
	s->frozen = true; /* an abort takes it back */
	request = move_notice_request(s->netd, "moving", s->dst, &ms);
	move_source_ask(s, request, -1, ms, source_noticed);
}

/* It has much memory, and all of it goes while it stands still. */
static bool source_untracked(struct move_source *s)
{
	return !s->tracks && move_enough(s->memory, NULL, 0) == ENOUGH_NOT;
}

static void source_rounds_done(void *arg, const struct move_sent *sent, const char *error)
{
	struct move_source *s = arg;

	s->sent = *sent;
	if (source_untracked(s))
		s->sent.end = "untracked";
	if (s->ended || s->aborting || error)
		move_source_fail(s, "its memory could not be sent: %s", error ?: "the move was given up");
	else
		source_notice(s);
	move_source_unref(s);
}

/* Both supervisors must know what a round is, and for memory this kernel what changed since the last. */
static void source_rounds(struct move_source *s, json_t *answer)
{
	struct keeper *k = move_source_keeper(s);
	json_t *hello = k ? keeper_hello(k) : NULL;
	bool data = json_array_size(json_object_get(hello, "data")) > 0;

	move_conns_confirm(&s->conns, hello, answer);
	s->queues = json_is_true(json_object_get(answer, "queues")) && datapath_embryos(s->netd->datapath);
	if (source_untracked(s))
		s->sent.end = "untracked";
	if ((!s->tracks && !data) || !json_is_true(json_object_get(hello, "rounds")) ||
	    !json_is_true(json_object_get(answer, "rounds"))) {
		source_notice(s);
		return;
	}
	s->frozen = true; /* an abort asks to undo it */
	s->pending++;
	move_rounds_run(s->netd, s->app, s->id, s->dst, s->tracks ? s->memory : 0, data, source_rounds_done,
			s);
}

static void source_prepared(void *arg, int status, json_t *answer)
{
	struct move_source *s = arg;

	if (status < 0 || json_object_get(answer, "error"))
		move_source_fail(s, "%s: %s", member_name(s->netd->member, s->dst), move_why(status, answer));
	else if (!s->ended && !s->aborting)
		source_rounds(s, answer);
	move_source_unref(s);
}

static void source_prepare(struct move_source *s)
{
	struct keeper *k = move_source_keeper(s);
	json_t *request = json_pack("{ss sI sb sO?}", "app", s->app, "id", (json_int_t)s->id, "dry_run", 0,
				    "desc", k ? keeper_hello(k) : NULL);

	s->pending++;
	peer_call(s->netd->peers, s->dst, "move-prepare", request, MOVE_PEER_MS, source_prepared, s);
	json_decref(request);
}

static void source_recorded(void *arg, const struct kddm_result *result)
{
	struct move_source *s = arg;
	int status = move_result_status(result);

	if (status == -EEXIST)
		move_source_fail(s, "it is being moved already");
	else if (status < 0)
		move_source_fail(s, "the move could not be recorded: %s",
				 status == -EAGAIN ? "no quorum" : move_why(status, NULL));
	s->recorded = status == 0;
	if (s->recorded)
		source_prepare(s);
	move_source_unref(s);
}

static void source_write_record(struct move_source *s)
{
	struct netd *n = s->netd;
	struct kddm_batch *b = kddm_batch_new(n->kddm, true);
	struct move_value m = {
		.id = s->id,
		.src = (uint16_t)member_self(n->member),
		.dst = (uint16_t)s->dst,
		.step = MOVE_PREPARED,
	};
	struct timespec ts;
	int err = b ? 0 : -ENOMEM;

	clock_gettime(CLOCK_REALTIME, &ts);
	m.since_ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	if (!err)
		err = kddm_grab(b, n->sets.moves, s->app, strlen(s->app), &m, sizeof(m), KDDM_ABSENT, m.src);
	if (!err)
		err = move_app_state(b, n, s->app, m.src, APP_MOVING, 0);
	move_source_submit(s, b, err, source_recorded);
}

/* ---- before anything is touched: what stands against it, here and there ------------------------- */

static void source_allowed(struct move_source *s)
{
	json_t *answer;

	if (!s->dry_run && json_array_size(s->refusals)) {
		move_source_end(s, move_check_error(s->refusals));
	} else if (!s->dry_run) {
		source_write_record(s);
	} else {
		answer = json_pack("{s:s s:s s:b s:O}", "app", s->app, "node",
				   member_name(s->netd->member, s->dst), "dry_run", 1, "refusals",
				   s->refusals);
		move_conns_show(&s->conns, answer);
		move_source_end(s, answer);
	}
}

/* What the target says, in the words of this list: not about this node's pids and fds. */
static void source_add_refusal(struct move_source *s, json_t *reason, json_t *path, json_t *remedy)
{
	char text[512];

	snprintf(text, sizeof(text), "%s: %s", member_name(s->netd->member, s->dst),
		 json_string_value(reason) ?: "?");
	json_array_append_new(s->refusals,
			      json_pack("{s:s s:i s:s s:i s:s}", "reason", text, "fd", -1, "path",
					json_string_value(path) ?: "", "pid", 0, "remedy",
					json_string_value(remedy) ?: "see the log of netd there"));
}

static void source_target_checked(void *arg, int status, json_t *answer)
{
	struct move_source *s = arg;
	json_t *error = json_object_get(answer, "error"), *r;
	size_t i;

	if (status < 0) {
		move_source_fail(s, "%s: %s", member_name(s->netd->member, s->dst), move_why(status, NULL));
	} else if (!s->ended) {
		if (error)
			source_add_refusal(s, error, NULL, json_object_get(answer, "remedy"));
		json_array_foreach(json_object_get(answer, "refusals"), i, r)
			source_add_refusal(s, json_object_get(r, "reason"), json_object_get(r, "path"),
					   json_object_get(r, "remedy"));
		move_conns_choose(&s->conns, s->netd, s->checked, answer,
				  member_name(s->netd->member, s->dst));
		source_allowed(s);
	}
	move_source_unref(s);
}

static void source_ask_target(struct move_source *s, json_t *files)
{
	struct keeper *k = move_source_keeper(s);
	json_t *request = json_pack("{ss sI sb sO? so sO?}", "app", s->app, "id", (json_int_t)s->id,
				    "dry_run", 1, "desc", k ? keeper_hello(k) : NULL, "cpu", move_check_cpu(),
				    "files", files);

	s->pending++;
	peer_call(s->netd->peers, s->dst, "move-prepare", request, MOVE_PEER_MS, source_target_checked, s);
	json_decref(request);
}

static void source_checked(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_source *s = arg;
	json_t *refusals = json_object_get(ok, "refusals");

	if (status < 0 || error) {
		move_source_fail(s, "it could not be examined: %s", move_why(status, error));
	} else {
		s->checked = json_incref(ok);
		s->refusals = json_is_array(refusals) ? json_incref(refusals) : json_array();
		s->memory = (uint64_t)json_integer_value(json_object_get(ok, "memory"));
		s->notices = json_integer_value(json_object_get(ok, "notices")) > 0;
		s->tracks = json_is_true(json_object_get(ok, "tracks"));
		if (!s->dry_run && json_array_size(s->refusals))
			source_allowed(s);
		else
			source_ask_target(s, json_object_get(ok, "files"));
	}
	move_source_unref(s);
}

/* Why this move cannot even be tried; NULL: it can. */
static json_t *source_refuse(struct netd *n, const char *app, uint32_t dst)
{
	uint32_t self = member_self(n->member);
	struct app_value v;

	if (!apps_find(n, app, &v, NULL) || v.node != self)
		return move_error("`netctl apps` tells where it is", "it does not run here any more");
	if (dst == self)
		return move_error("`netctl nodes` lists the others", "it runs on %s already",
				  member_name(n->member, dst));
	if (!member_alive(n->member, dst))
		return move_error("`netctl nodes` lists those that are up", "%s is not up",
				  member_name(n->member, dst));
	if (move_source_find(n, app) || kddm_find(n->sets.moves, app, strlen(app)))
		return move_error("`netctl moves` tells how far it is", "it is being moved already");
	if (v.state != APP_RUNNING)
		return move_error("try again when it runs", "it is still starting");
	if (v.flags & APP_FROZEN)
		return move_error("`netctl thaw` it first", "it is frozen");
	return NULL;
}

void move_source_begin(struct netd *n, const char *app, uint32_t dst, bool dry_run, struct peer_call *call)
{
	json_t *refused = source_refuse(n, app, dst);
	struct move_source *s = refused ? NULL : calloc(1, sizeof(*s));

	if (!s) {
		peer_call_answer(call, refused ? refused : move_error(NULL, "out of memory"));
		return;
	}
	s->stream = -1;
	s->netd = n;
	s->dst = dst;
	s->dry_run = dry_run;
	s->call = call;
	s->t_start = uv_hrtime();
	s->id = (s->t_start << 10 | member_self(n->member)) & INT64_MAX;
	snprintf(s->app, sizeof(s->app), "%s", app);
	s->next = n->moves->sources;
	n->moves->sources = s;
	move_source_ask(s, json_pack("{ss}", "op", "check"), -1, MOVE_PEER_MS, source_checked);
}
