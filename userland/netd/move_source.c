// SPDX-License-Identifier: GPL-2.0
/*
 * The source of a move: check, record, hold, dump, send; then whatever the
 * record says. The frozen copy runs on only after an abort was committed, and
 * ends only after the flip was. See moves.h for the order.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "claims.h"
#include "datapath.h"
#include "member.h"
#include "move.h"
#include "move_check.h"
#include "move_conns.h"
#include "move_enough.h"
#include "move_images.h"
#include "move_rounds.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define ABORT_RETRY_MS 200

struct move_source {
	struct move_source *next;
	struct netd *netd;
	char app[APP_NAME_MAX];
	uint64_t id;
	uint32_t dst;
	bool dry_run;
	bool recorded; /* the record is ours: leave by abort or flip only */
	bool frozen;   /* a dump was begun, or made ready */
	bool aborting;
	unsigned int pending; /* calls whose callbacks hold a pointer to us */
	bool ended;
	char why[256];
	uint64_t t_start, t_freeze, t_resumed; /* uv_hrtime */
	bool notices;			       /* its processes want to know before */
	json_int_t notice_ms;		       /* and took so long to get ready */
	bool tracks;			       /* what changed in its memory can be told */
	uint64_t memory;		       /* of the application, in bytes */
	struct move_sent sent;		       /* before the freeze */
	int stream;			       /* to the target's keeper, opened before the freeze; -1 none */
	struct move_conns conns;
	bool queues;		/* what waits for accept() goes along */
	json_t *checked;	/* the keeper's answer to that */
	json_t *refusals;	/* what stands against it, on either side */
	json_t *dumped;		/* the keeper's figures */
	json_t *resumed;	/* the target's */
	struct peer_call *call; /* whoever asked; NULL: answered */
};

/* ---- life of the object ------------------------------------------------------------ */

/* One that ended is only waiting for answers that do not matter any more. */
static struct move_source *source_find(struct netd *n, const char *app)
{
	for (struct move_source *s = n->moves->sources; s; s = s->next)
		if (strcmp(s->app, app) == 0 && !s->ended)
			return s;
	return NULL;
}

/*
 * A record of this node that nobody stands behind: written after all, when its outcome had been
 * unknown for so long that the move was given up.
 */
static void source_orphan(struct netd *n, const char *app)
{
	struct move_value m;

	if (n->moves && n->moves->settled && !source_find(n, app) && move_read(n, app, &m, NULL) &&
	    m.src == member_self(n->member) && m.step < MOVE_FLIPPED)
		move_source_reconcile(n, app, &m);
}

/* A callback is done with its pointer. */
static void source_unref(struct move_source *s)
{
	struct move_source **p = &s->netd->moves->sources;
	struct netd *n = s->netd;
	char app[APP_NAME_MAX];

	if (--s->pending || !s->ended)
		return;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	strcpy(app, s->app);
	close_fd(&s->stream);
	json_decref(s->checked);
	json_decref(s->refusals);
	json_decref(s->dumped);
	json_decref(s->resumed);
	free(s);
	source_orphan(n, app);
}

static void source_answer(struct move_source *s, json_t *answer)
{
	if (s->call)
		peer_call_answer(s->call, answer);
	else
		json_decref(answer);
	s->call = NULL;
}

static void source_end(struct move_source *s, json_t *answer)
{
	source_answer(s, answer);
	s->ended = true;
}

static struct keeper *source_keeper(struct move_source *s)
{
	return keepers_find(apps_keepers(s->netd->apps), s->app);
}

static void source_ask(struct move_source *s, json_t *request, int fd, unsigned int ms, keeper_done_fn *done)
{
	struct keeper *k = source_keeper(s);

	s->pending++;
	if (k) {
		keeper_call(k, request, fd, ms, done, s);
		return;
	}
	json_decref(request);
	done(s, -ENOTCONN, NULL, NULL);
}

static void source_submit(struct move_source *s, struct kddm_batch *b, int err, kddm_done_fn *done)
{
	const int op = err;
	struct kddm_result failed = {.status = err, .n_ops = 1, .op = &op};

	s->pending++;
	if (err < 0) {
		if (b)
			kddm_batch_free(b);
		done(s, &failed);
		return;
	}
	kddm_submit(b, done, s);
}

static int result_status(const struct kddm_result *r)
{
	if (r->status)
		return r->status;
	for (size_t i = 0; i < r->n_ops; i++)
		if (r->op[i] && r->op[i] != -ECANCELED)
			return r->op[i];
	return 0;
}

/* ---- abort --------------------------------------------------------------------------- */

static void source_abort(struct move_source *s);

static void timer_free(uv_handle_t *h)
{
	free(h);
}

static void source_abort_again(uv_timer_t *t)
{
	struct move_source *s = t->data;

	uv_close((uv_handle_t *)t, timer_free);
	s->aborting = false;
	source_abort(s);
	source_unref(s);
}

/* Committed: the record's change does the rest. Refused: something changed
 * first, or there is no quorum; as long as the record is undecided we ask on. */
static void source_abort_committed(void *arg, const struct kddm_result *result)
{
	struct move_source *s = arg;
	struct move_value m;
	uv_timer_t *t;

	if (result_status(result) < 0 && move_read(s->netd, s->app, &m, NULL) && m.id == s->id &&
	    m.step < MOVE_FLIPPED && (t = malloc(sizeof(*t)))) {
		uv_timer_init(s->netd->loop, t);
		t->data = s;
		uv_timer_start(t, source_abort_again, ABORT_RETRY_MS, 0);
		return;
	}
	if (!s->ended && (!move_read(s->netd, s->app, &m, NULL) || m.id != s->id))
		source_end(s, move_error(NULL, "%s", s->why)); /* went with a node that died */
	source_unref(s);
}

static void source_abort(struct move_source *s)
{
	struct netd *n = s->netd;
	struct kddm_batch *b;
	int err = -ENOMEM;

	if (s->aborting)
		return;
	s->aborting = true;
	close_fd(&s->stream);
	s->stream = -1;
	log_warn("move of %s: %s", s->app, s->why);
	b = kddm_batch_new(n->kddm, true);
	if (b)
		err = move_step(b, n, s->app, MOVE_ABORTED, s->why);
	if (!err)
		err = move_ports_give(b, n, s->app, member_self(n->member));
	if (!err && apps_find(n, s->app, NULL, NULL))
		err = move_app_state(b, n, s->app, member_self(n->member), APP_RUNNING, 0);
	source_submit(s, b, err, source_abort_committed);
}

__attribute__((format(printf, 2, 3))) static void source_fail(struct move_source *s, const char *fmt, ...)
{
	struct move_value m;
	va_list ap;

	if (s->ended)
		return;
	if (!*s->why) {
		va_start(ap, fmt);
		vsnprintf(s->why, sizeof(s->why), fmt, ap);
		va_end(ap);
	}
	if (!s->recorded)
		source_end(s, move_error(NULL, "%s", s->why));
	else if (move_read(s->netd, s->app, &m, NULL) && m.id == s->id && m.step < MOVE_FLIPPED)
		source_abort(s);
	/* else: decided already, and that is on its way */
}

/* ---- after the outcome ------------------------------------------------------------------ */

static json_t *source_summary(struct move_source *s)
{
	json_t *o = json_pack("{s:s s:s s:f s:f s:i}", "app", s->app, "node",
			      member_name(s->netd->member, s->dst), "frozen_ms",
			      (double)(s->t_resumed - s->t_freeze) / 1e6, "total_ms",
			      (double)(s->t_resumed - s->t_start) / 1e6, "rounds", (int)s->sent.rounds + 1);
	json_int_t last = json_integer_value(json_object_get(s->dumped, "bytes"));

	move_conns_show(&s->conns, o);
	if (s->notices)
		json_object_set_new(o, "notice_ms", json_integer(s->notice_ms));
	json_object_set_new(o, "rounds_end", json_string(s->sent.end ?: ""));
	json_object_set_new(o, "frozen_bytes", json_integer(last));
	json_object_set_new(o, "bytes", json_integer(last + (json_int_t)s->sent.bytes));
	json_object_update_missing(o, s->dumped);
	json_object_update_missing(o, s->resumed);
	return o;
}

static void source_discarded(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_source *s = arg;

	(void)ok;
	if (status == -ETIMEDOUT || error)
		log_err("move of %s: the old copy could not be removed: %s", s->app, move_why(status, error));
	datapath_sweep(s->netd->datapath, s->app);
	datapath_hold_release(s->netd->datapath, s->app);
	move_record_remove(s->netd, s->app);
	move_stdio_connect(s->netd, s->app);
	if (s->resumed)
		source_end(s, source_summary(s));
	else
		source_end(s, move_error("`netctl apps` tells how it is",
					 "the application belongs to %s now, which has not said "
					 "that it runs",
					 member_name(s->netd->member, s->dst)));
	source_unref(s);
}

static void source_discard(struct move_source *s)
{
	source_ask(s, json_pack("{ss}", "op", "discard"), -1, MOVE_KEEPER_MS, source_discarded);
}

static void source_thawed(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_source *s = arg;

	(void)ok;
	if (status < 0 || error)
		log_err("move of %s: it does not run on: %s", s->app, move_why(status, error));
	if (status == -ENOTCONN)
		apps_release(s->netd, s->app);
	datapath_hold_release(s->netd->datapath, s->app);
	move_record_remove(s->netd, s->app);
	source_end(s, move_error(NULL,
				 status == -ENOTCONN ? "not moved, and it ended where it was: %s"
						     : "not moved, it runs on where it was: %s",
				 s->why));
	source_unref(s);
}

static void source_aborted(struct move_source *s, const struct move_value *m)
{
	if (!*s->why)
		snprintf(s->why, sizeof(s->why), "%s", m->reason);
	if (s->frozen) {
		move_images_queued(s->netd->datapath, s->app, true);
		source_ask(s, json_pack("{ss}", "op", "thaw"), -1, MOVE_KEEPER_MS, source_thawed);
	} else {
		s->pending++;
		source_thawed(s, source_keeper(s) ? 0 : -ENOTCONN, NULL, NULL);
	}
}

/* The flip frees the target to run at once; its figures may come after. */
static void source_settle(struct move_source *s)
{
	struct move_value m;

	if (!move_read(s->netd, s->app, &m, NULL) || m.id != s->id || m.step != MOVE_FLIPPED)
		return;
	if (s->t_resumed)
		source_discard(s);
}

void move_source_record(struct netd *n, const char *app, const struct move_value *m)
{
	struct move_source *s = source_find(n, app);

	if (!s)
		source_orphan(n, app);
	if (!s || s->id != m->id)
		return;
	if (m->step == MOVE_ABORTED)
		source_aborted(s, m);
	else if (m->step == MOVE_FLIPPED)
		source_settle(s);
}

/* ---- the way there ----------------------------------------------------------------------- */

static void source_target_done(void *arg, int status, json_t *answer)
{
	struct move_source *s = arg;
	json_t *error = json_object_get(answer, "error");
	struct move_value m;

	if (status == 0 && !error)
		s->resumed = json_incref(answer);
	s->t_resumed = uv_hrtime();
	if (move_read(s->netd, s->app, &m, NULL) && m.id == s->id && m.step == MOVE_FLIPPED)
		source_settle(s);
	else if (!s->ended && (status < 0 || error))
		source_fail(s, "%s: %s", member_name(s->netd->member, s->dst), move_why(status, answer));
	/* else: it runs there, and the record's change is on its way to us */
	source_unref(s);
}

static void source_sent(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_source *s = arg;

	(void)ok;
	if (status < 0 || error)
		source_fail(s, "the image could not be sent: %s", move_why(status, error));
	source_unref(s);
}

/* Frozen and written: off with it. */
static void source_send(struct move_source *s)
{
	_close_ int stream = take_fd(s->stream);
	json_t *request = json_pack("{ss sI}", "app", s->app, "id", (json_int_t)s->id);

	s->pending++;
	peer_call(s->netd->peers, s->dst, "move-restore", request, MOVE_BULK_MS, source_target_done, s);
	json_decref(request);
	source_ask(s, move_image_request("send", s->app), stream, MOVE_BULK_MS, source_sent);
}

static void source_stayed(void *arg, const struct kddm_result *result)
{
	struct move_source *s = arg;
	int status = result_status(result);

	if (s->ended || s->aborting || status < 0)
		source_fail(s, "what it closed lately could not be told: %s", move_why(status, NULL));
	else
		source_send(s);
	source_unref(s);
}

/* What it closed between hold and freeze stays here, too: every node knows before the port is the target's. */
static void source_stay(struct move_source *s)
{
	struct kddm_batch *b = kddm_batch_new(s->netd->kddm, false);
	int n = datapath_flows_stay(s->netd->datapath, b, s->app);

	if (n) {
		source_submit(s, b, n < 0 ? n : 0, source_stayed);
		return;
	}
	kddm_batch_free(b);
	source_send(s);
}

static void source_dumped(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_source *s = arg;

	if (s->ended || s->aborting || status < 0 || error) {
		source_fail(s, "it could not be frozen: %s", move_why(status, error));
		source_unref(s);
		return;
	}
	if (claims_calls_unheld(s->netd->claims, s->app)) {
		source_fail(s, "it opened a connection while it was being frozen; try again");
		source_unref(s);
		return;
	}
	s->dumped = json_copy(ok);
	json_object_del(s->dumped, "state");
	source_stay(s);
	source_unref(s);
}

static void source_held(void *arg, int status)
{
	struct move_source *s = arg;
	struct keeper *k = source_keeper(s);
	_close_ int stream = -1;
	json_t *request;

	if (s->ended || s->aborting || status < 0) {
		source_fail(s, "its ports could not be held: %s", move_why(status, NULL));
		source_unref(s);
		return;
	}
	datapath_hold_now(s->netd->datapath, s->app);
	s->frozen = true;
	s->t_freeze = uv_hrtime();
	if (s->queues) /* no confirmation reaches this node any more */
		move_images_half_open(s->netd->datapath, s->app);
	request = move_image_request("dump", s->app);
	json_object_set_new(request, "conns", json_boolean(s->conns.apart));
	json_object_set_new(request, "queues", json_boolean(s->queues));
	json_object_set_new(request, "rounds", json_integer(s->sent.rounds));
	json_object_set_new(request, "criu", json_string(s->netd->conf.criu));
	if (k && json_is_true(json_object_get(keeper_hello(k), "early")))
		stream = take_fd(s->stream);
	source_ask(s, request, stream, MOVE_BULK_MS, source_dumped);
	source_unref(s);
}

static void source_hold_committed(void *arg, const struct kddm_result *result)
{
	struct move_source *s = arg;
	uint32_t nodes[2] = {member_self(s->netd->member), s->dst};
	int status = result_status(result);

	if (s->ended || s->aborting || status < 0) {
		source_fail(s, "its ports could not be held: %s", move_why(status, NULL));
		source_unref(s);
		return;
	}
	s->pending++;
	kddm_wait_applied(s->netd->kddm, result->index, nodes, 2, MOVE_APPLIED_MS, source_held, s);
	source_unref(s);
}

static void source_hold(struct move_source *s)
{
	struct netd *n = s->netd;
	struct kddm_batch *b = kddm_batch_new(n->kddm, true);
	int err = b ? 0 : -ENOMEM;

	/* Whoever ends the hold by an abort: nothing is released to a frozen program. And what comes between the two
	 * nodes' holds is accepted here and queued there; the other way round it would be queued here alone. */
	datapath_hold_late(n->datapath, s->app);
	/* The record in the same entry: a batch is never empty, and an abort by
	 * the target's death makes it fail as a whole. */
	if (!err)
		err = move_step(b, n, s->app, MOVE_PREPARED, NULL);
	if (!err)
		err = move_ports_hold(b, n, s->app, s->dst);
	if (!err)
		err = claims_calls_hold(n->claims, b, s->app, s->dst, s->why, sizeof(s->why));
	if (!err)
		err = datapath_flows_stay(n->datapath, b, s->app);
	source_submit(s, b, err, source_hold_committed);
}

/* ---- while it runs: all that need not be done in the pause -------------------------------- */

static void source_stream(void *arg, int status, int fd)
{
	struct move_source *s = arg;
	_close_ int stream = fd;

	if (s->ended || s->aborting || status < 0) {
		source_fail(s, "no stream to the target: %s", move_why(status, NULL));
	} else {
		s->stream = take_fd(stream);
		source_hold(s);
	}
	source_unref(s);
}

static void source_is_ready(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_source *s = arg;
	json_t *hello;

	(void)ok;
	if (s->ended || s->aborting || status < 0 || error) {
		source_fail(s, "it cannot be frozen: %s", move_why(status, error));
		source_unref(s);
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
	source_ask(s, request, -1, MOVE_BULK_MS, source_is_ready);
}

/* An answer that is missing stops no move. */
static void source_noticed(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_source *s = arg;

	if (status < 0 || error)
		log_warn("move of %s: it could not be told: %s", s->app, move_why(status, error));
	s->notice_ms = json_integer_value(json_object_get(ok, "ms"));
	if (s->ended || s->aborting)
		source_fail(s, "the move was given up");
	else
		source_ready(s);
	source_unref(s);
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
	source_ask(s, request, -1, ms, source_noticed);
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
		source_fail(s, "its memory could not be sent: %s", error ?: "the move was given up");
	else
		source_notice(s);
	source_unref(s);
}

/* Both supervisors must know what a round is, and for memory this kernel what changed since the last. */
static void source_rounds(struct move_source *s, json_t *answer)
{
	struct keeper *k = source_keeper(s);
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
		source_fail(s, "%s: %s", member_name(s->netd->member, s->dst), move_why(status, answer));
	else if (!s->ended && !s->aborting)
		source_rounds(s, answer);
	source_unref(s);
}

static void source_prepare(struct move_source *s)
{
	struct keeper *k = source_keeper(s);
	json_t *request = json_pack("{ss sI sb sO?}", "app", s->app, "id", (json_int_t)s->id, "dry_run", 0,
				    "desc", k ? keeper_hello(k) : NULL);

	s->pending++;
	peer_call(s->netd->peers, s->dst, "move-prepare", request, MOVE_PEER_MS, source_prepared, s);
	json_decref(request);
}

static void source_recorded(void *arg, const struct kddm_result *result)
{
	struct move_source *s = arg;
	int status = result_status(result);

	if (status == -EEXIST)
		source_fail(s, "it is being moved already");
	else if (status < 0)
		source_fail(s, "the move could not be recorded: %s",
			    status == -EAGAIN ? "no quorum" : move_why(status, NULL));
	s->recorded = status == 0;
	if (s->recorded)
		source_prepare(s);
	source_unref(s);
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
	source_submit(s, b, err, source_recorded);
}

/* ---- before anything is touched: what stands against it, here and there ------------------------- */

static void source_allowed(struct move_source *s)
{
	json_t *answer;

	if (!s->dry_run && json_array_size(s->refusals)) {
		source_end(s, move_check_error(s->refusals));
	} else if (!s->dry_run) {
		source_write_record(s);
	} else {
		answer = json_pack("{s:s s:s s:b s:O}", "app", s->app, "node",
				   member_name(s->netd->member, s->dst), "dry_run", 1, "refusals",
				   s->refusals);
		move_conns_show(&s->conns, answer);
		source_end(s, answer);
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
		source_fail(s, "%s: %s", member_name(s->netd->member, s->dst), move_why(status, NULL));
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
	source_unref(s);
}

static void source_ask_target(struct move_source *s, json_t *files)
{
	struct keeper *k = source_keeper(s);
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
		source_fail(s, "it could not be examined: %s", move_why(status, error));
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
	source_unref(s);
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
	if (source_find(n, app) || kddm_find(n->sets.moves, app, strlen(app)))
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
	source_ask(s, json_pack("{ss}", "op", "check"), -1, MOVE_PEER_MS, source_checked);
}

/* ---- what a restart finds ------------------------------------------------------------------- */

void move_source_reconcile(struct netd *n, const char *app, const struct move_value *m)
{
	struct move_source *s = source_find(n, app);

	if (s)
		return;
	s = calloc(1, sizeof(*s));
	if (!s)
		return;
	s->stream = -1;
	s->netd = n;
	s->id = m->id;
	s->dst = m->dst;
	s->recorded = s->frozen = true;
	s->t_start = s->t_freeze = s->t_resumed = uv_hrtime();
	snprintf(s->app, sizeof(s->app), "%s", app);
	s->next = n->moves->sources;
	n->moves->sources = s;
	if (m->step >= MOVE_FLIPPED)
		move_source_record(n, app, m);
	else
		source_fail(s, "nobody was behind it any more: netd was restarted, or the cluster without a "
			       "quorum for long");
}

void move_source_keeper_gone(struct netd *n, const char *app)
{
	struct move_source *s = source_find(n, app);

	if (s && s->recorded && !s->dumped)
		source_fail(s, "its supervisor went away");
}
